package message

import (
	"maps"
	"testing"
)

func TestMediaType(t *testing.T) {
	type params = map[string]string
	for field, want := range map[string]struct {
		kind   string
		params params
	}{
		"":                               {"", params{}},
		"Text/Plain":                     {"text/plain", params{}},
		"text/plain charset=utf-8":       {"text/plain", params{}},
		"text/plain (a; comment)":        {"text/plain", params{}},
		" a/b ; C = d ;; e=\"f;\\\"g\" ": {"a/b", params{"c": "d", "e": `f;"g`}},
		"text/plain; charset=us-ascii (Plain text)":                         {"text/plain", params{"charset": "us-ascii"}}, // RFC 2045, section 5.1
		"multipart/mixed; boundary=----=_Part_1":                            {"multipart/mixed", params{"boundary": "----=_Part_1"}},
		"text/plain; charset=koi8-r; charset=utf-8":                         {"text/plain", params{"charset": "koi8-r"}},
		"attachment; filename=my file (1).pdf":                              {"attachment", params{"filename": "my file (1).pdf"}},
		"attachment; filename=\"C:\\dir\\file\"":                            {"attachment", params{"filename": `C:\dir\file`}},
		"attachment; filename=\"no end":                                     {"attachment", params{"filename": "no end"}},
		"a; n*0*=utf-8''%c3%a4; n*1=\"%41\"; n*2*=%2E; n*4=x":               {"a", params{"n": "ä%41."}},
		"a; n*0=b; n*1=c; n=d":                                              {"a", params{"n": "bc"}},
		"a; n*1=c":                                                          {"a", params{}},
		"attachment; filename=\"? rates\"; filename*=iso-8859-1'en'%A3%20r": {"attachment", params{"filename": "£ r"}}, // RFC 2231, section 4
		"a; n*=x-unknown''%41%":                                             {"a", params{"n": "%41%"}},
	} {
		if kind, got := mediaType(field); kind != want.kind || !maps.Equal(got, want.params) {
			t.Errorf("%s: %q %q", field, kind, got)
		}
	}
}

// A boundary that should have quotes, and has none, is one all the same.
func TestBrokenContentTypes(t *testing.T) {
	const parts = "\n\n--=b\n\nthe text\n--=b\nContent-Disposition: attachment; filename=my file.pdf\n\nx\n--=b--\n"
	for _, field := range []string{"multipart/mixed; boundary==b", "multipart/mixed; boundary==b; boundary=c"} {
		body, _ := bodyOf(t, "Content-Type: "+field+parts)
		if body.Text != "the text\n" || len(body.Attachments) != 1 || body.Attachments[0].Name != "my file.pdf" {
			t.Errorf("%s: %q, %v", field, body.Text, body.Attachments)
		}
	}
	if body, _ := bodyOf(t, "Content-Type: multipart/mixed\n\n--b\n\nthe text\n"); body.Text != "--b\n\nthe text\n" {
		t.Errorf("without a boundary: %q, %v", body.Text, body.Attachments)
	}
}

package message

import (
	"bytes"
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// What the standard library reads without complaint is read here as it reads it.

func FuzzQuotedPrintable(f *testing.F) {
	f.Add("a=3D=\r\nb \t\r\n=C3=A4\n")
	f.Add(strings.Repeat("=61", 2000) + " \t=\n.")
	f.Fuzz(func(t *testing.T, text string) {
		text = strings.ReplaceAll(text, "\r", "") // alone, it is no line end here
		for _, lineEnd := range []string{"\n", "\r\n"} {
			text := strings.ReplaceAll(text, "\n", lineEnd)
			got, err := io.ReadAll(newQuotedPrintable(strings.NewReader(text)))
			if err != nil {
				t.Fatal(err)
			}
			if again, err := io.ReadAll(iotest.OneByteReader(newQuotedPrintable(iotest.OneByteReader(strings.NewReader(text))))); err != nil || !bytes.Equal(again, got) {
				t.Errorf("%q: %q in one piece, %q in many, %v", text, got, again, err)
			}
			if want, err := io.ReadAll(quotedprintable.NewReader(strings.NewReader(text))); err == nil && !bytes.Equal(got, want) {
				t.Errorf("%q: %q, want %q", text, got, want)
			}
		}
	})
}

func FuzzParts(f *testing.F) {
	f.Add("before\n--b\n\none\n\n--b \n\ntwo\n--b--\nbehind")
	f.Add("--b\n\n" + strings.Repeat("x", 4096) + "\n--b--")
	f.Fuzz(func(t *testing.T, text string) {
		// Where the end is missing, or at the beginning, they differ.
		text = strings.NewReplacer("\r", "", "--b--", "").Replace(text) + "\n--b--"
		for _, lineEnd := range []string{"\n", "\r\n"} {
			text := strings.ReplaceAll(text, "\n", lineEnd)
			want, ok := partsOfLibrary(text)
			if got := partsOf(text); ok && !slices.Equal(got, want) {
				t.Errorf("%q: %q, want %q", text, got, want)
			}
		}
	})
}

func partsOf(text string) (parts []string) {
	r := newPartReader(strings.NewReader(text), "b")
	if _, err := r.preamble(); err != nil {
		return nil
	}
	for {
		_, body, err := r.next()
		if body == nil {
			return parts
		}
		content, _ := io.ReadAll(body)
		if parts = append(parts, string(content)); err != nil {
			return parts
		}
	}
}

func partsOfLibrary(text string) (parts []string, ok bool) {
	r := multipart.NewReader(strings.NewReader(text), "b")
	for {
		part, err := r.NextRawPart()
		if err != nil {
			return parts, err == io.EOF && len(parts) > 0
		}
		content, err := io.ReadAll(part)
		if err != nil || len(part.Header) > 0 { // what is a field, each has its own mind about
			return nil, false
		}
		parts = append(parts, string(content))
	}
}

func FuzzMediaType(f *testing.F) {
	f.Add(`text/plain; charset="utf-8"; a*=utf-8''%c3%a4; b*0=c; b*1=d`)
	f.Add(`attachment; filename="a\"b;c"`)
	f.Fuzz(func(t *testing.T, field string) {
		kind, params := mediaType(field)
		if again, paramsAgain := mediaType(field); again != kind || !maps.Equal(params, paramsAgain) {
			t.Errorf("%q: %q %q, then %q %q", field, kind, params, again, paramsAgain)
		}
		wantKind, want, err := mime.ParseMediaType(field)
		isOdd := func(r rune) bool { return r < ' ' || r > '~' || strings.ContainsRune(`*()\'%`, r) }
		if err != nil || strings.ContainsFunc(field, isOdd) { // where it knows less, or takes other liberties
			return
		}
		if kind != wantKind || !maps.Equal(params, want) {
			t.Errorf("%q: %q %q, want %q %q", field, kind, params, wantKind, want)
		}
	})
}

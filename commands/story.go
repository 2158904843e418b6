package commands

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"xm/internal/mailclient"
	"xm/internal/trace"
)

// storyJSON is what --json gives of a message.
type storyJSON struct {
	ID        string      `json:"id"`
	Outcome   string      `json:"outcome"` // accepted, refused, given up, or none that is known
	MessageID string      `json:"message_id,omitempty"`
	From      string      `json:"from,omitempty"`
	To        string      `json:"to,omitempty"`
	User      string      `json:"user,omitempty"`
	Peer      string      `json:"peer,omitempty"`
	Client    string      `json:"client,omitempty"`
	TLS       string      `json:"tls,omitempty"`
	Service   string      `json:"service,omitempty"`
	Session   string      `json:"session,omitempty"`
	Octets    int64       `json:"octets,omitempty"`
	Took      string      `json:"took,omitempty"`
	Reply     string      `json:"reply,omitempty"`
	Mailboxes []string    `json:"mailboxes,omitempty"`
	File      string      `json:"file,omitempty"`
	Events    []eventJSON `json:"events"`
	Left      int         `json:"events_left_out,omitempty"`
}

type eventJSON struct {
	Time  time.Time         `json:"time"`
	Level string            `json:"level"`
	Msg   string            `json:"msg"`
	Attrs map[string]string `json:"attrs"`
}

// newStory sums up what the log tells. The record of the message's end has most
// of it.
func newStory(s *trace.Story) storyJSON {
	j := storyJSON{ID: s.ID, Outcome: "unknown", Events: []eventJSON{}, Left: s.Left}
	for _, r := range s.Events {
		e := eventJSON{r.Time, r.Level, r.Msg, map[string]string{}}
		for _, a := range r.Attrs {
			e.Attrs[a.Key] = a.Value
		}
		j.Events = append(j.Events, e)
		if r.Get("id") == s.ID {
			j.learn(r)
		}
	}
	return j
}

func (j *storyJSON) learn(r trace.Record) {
	if outcome, ok := strings.CutPrefix(r.Msg, "message "); ok {
		j.Outcome, j.Reply = outcome, r.Get("reply")
		j.To, j.Took, j.File = r.Get("to"), duration(r.Get("took")), r.Get("file")
		j.Octets, _ = strconv.ParseInt(r.Get("octets"), 10, 64) // 0, which is left out, where it is none
		if boxes := r.Get("mailboxes"); boxes != "" && outcome == "accepted" {
			j.Mailboxes = strings.Split(boxes, ",")
		}
	}
	for value, key := range map[*string]string{&j.MessageID: "message_id", &j.From: "from", &j.User: "user", &j.Peer: "peer",
		&j.Client: "helo", &j.TLS: "tls", &j.Service: "service", &j.Session: "session"} {
		*value = cmp.Or(r.Get(key), *value)
	}
}

// duration reads one as the log has it: in nanoseconds where it is JSON.
func duration(text string) string {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return time.Duration(n).String()
	}
	return text
}

func printStories(c *cli.Context, stories []*trace.Story) error {
	var all []storyJSON
	for _, s := range stories {
		all = append(all, newStory(s))
	}
	if c.Bool("json") {
		return printJSON(c, all)
	}
	for i, s := range all {
		if i > 0 {
			fmt.Fprintln(c.App.Writer)
		}
		if _, err := fmt.Fprint(c.App.Writer, s); err != nil {
			return err
		}
	}
	return nil
}

// String is the story for a person: what is known of the message, and then what
// happened, in order.
func (j storyJSON) String() string {
	var b strings.Builder
	say := func(what, text string) {
		if text != "" {
			fmt.Fprintf(&b, "%-12s%s\n", what+":", mailclient.Printable(text))
		}
	}
	say("Message", j.ID)
	say("Message-ID", j.MessageID)
	say("From", j.From)
	say("User", j.User)
	say("To", strings.Trim(j.To, "[]"))
	say("Client", strings.TrimSpace(j.Client+" ["+j.Peer+"] "+j.TLS))
	say("Outcome", j.outcome())
	for _, box := range j.Mailboxes {
		say("Stored", box+"/new/"+j.File)
	}
	b.WriteString("\n")
	for _, e := range j.Events {
		text := fmt.Sprintf("%s  %-11s  %s", e.Time.Format("2006-01-02 15:04:05.000"), e.Attrs["service"], e.words())
		fmt.Fprintln(&b, mailclient.Printable(text))
	}
	if j.Left > 0 {
		fmt.Fprintf(&b, "and %d lines more\n", j.Left)
	}
	return b.String()
}

func (j storyJSON) outcome() string {
	text := j.Outcome
	if j.Took != "" {
		text += fmt.Sprintf(", %d octets in %s", j.Octets, j.Took)
	}
	if j.Reply != "" {
		text += ": " + j.Reply
	}
	return text
}

// words tells what happened.
func (e eventJSON) words() string {
	a := e.Attrs
	switch e.Msg {
	case "connected":
		text := a["peer"] + " connects to " + a["local"]
		if a["tls"] != "" {
			text += ", " + a["tls"]
		}
		return text
	case "answered", "refused":
		return a["command"] + "  ->  " + a["reply"]
	case "logged in":
		return "logged in as " + a["user"] + ", " + a["mechanism"]
	case "login failed":
		return "login as " + a["user"] + " failed, " + a["mechanism"]
	case "message accepted":
		return "accepted  ->  " + a["reply"]
	case "message refused":
		return "refused  ->  " + a["reply"] + " (" + a["err"] + ")"
	case "message given up":
		return "the client gave it up, after " + a["octets"] + " octets"
	case "message retrieved":
		return a["user"] + " fetches it, from " + a["peer"]
	case "message deleted":
		return a["user"] + " deletes it, from " + a["peer"]
	}
	if a["err"] != "" {
		return e.Msg + ": " + a["err"]
	}
	return e.Msg
}

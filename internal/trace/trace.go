package trace

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"strings"
)

// Story is what the log tells of one message.
type Story struct {
	ID     string   // that the log has for it
	Events []Record // in the order of their times
	Left   int      // records that were too many
}

// Bounds of what is kept, whatever the size of the log. A session has 10,000
// commands at most without a message.
const (
	maxStories = 20
	maxEvents  = 12_000 // of a story
)

// Find reads the log twice: first for the message, then for what concerns it. The
// message is given by the id that the log has for it, or by its Message-ID, with
// or without <>; then there may be several, of which the last 20 are told. None is
// no error. A source that can't be read to its end, as when it was damaged, does not
// keep the rest of the log from being told: the error is beside the stories.
func Find(ctx context.Context, log []Source, message string) ([]*Story, error) {
	f := finder{message: strings.Trim(message, "<>"), stories: map[string]*subject{}}
	needle := longestPlain(f.message)
	err := eachLine(ctx, log, func(line []byte) {
		if bytes.Contains(line, needle) {
			f.look(line)
		}
	})
	if ctx.Err() != nil || len(f.stories) == 0 {
		return nil, err
	}
	needles := f.needles()
	err = eachLine(ctx, log, func(line []byte) {
		f.line++
		if slices.ContainsFunc(needles, func(n []byte) bool { return bytes.Contains(line, n) }) {
			f.collect(line)
		}
	})
	return f.told(), err
}

// subject is a message that is looked for, and how to know what concerns it.
type subject struct {
	Story
	sessions, uids map[string]bool
	around         []Record // of the session as a whole, while it is collected
}

// keep adds a record to a list that has its bounds.
func (s *subject) keep(list *[]Record, r Record) {
	if len(*list) == maxEvents {
		s.Left++
		return
	}
	*list = append(*list, r)
}

type finder struct {
	message string
	stories map[string]*subject // by id
	order   []string            // of the ids
	line    int                 // that is read
}

// longestPlain is the longest part of a text that every form of the log has as it
// is: a quick look at a line tells whether it may hold the text.
func longestPlain(text string) []byte {
	longest := ""
	for _, part := range strings.FieldsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`"\<>&`, r) }) {
		if len(part) > len(longest) {
			longest = part
		}
	}
	return []byte(longest)
}

// look finds messages, with their sessions and unique-ids.
func (f *finder) look(line []byte) {
	r, err := Parse(line)
	if err != nil {
		return
	}
	id := r.Get("id")
	if id == "" || id != f.message && strings.Trim(r.Get("message_id"), "<>") != f.message {
		return
	}
	s := f.stories[id]
	if s == nil {
		s = &subject{Story{ID: id}, map[string]bool{}, map[string]bool{}, nil}
		f.stories[id] = s
		if f.order = append(f.order, id); len(f.order) > maxStories {
			delete(f.stories, f.order[0])
			f.order = f.order[1:]
		}
	}
	if session := r.Get("session"); session != "" {
		s.sessions[session] = true
	}
	if uid := r.uid(); uid != "" {
		s.uids[uid] = true
	}
}

// uid is the message's POP3 unique-id, which is the name of its file unless that
// is too long for one.
func (r Record) uid() string {
	if uid := r.Get("uid"); uid != "" {
		return uid
	}
	return r.Get("file")
}

// needles are what a line must have one of.
func (f *finder) needles() (all [][]byte) {
	for id, s := range f.stories {
		all = append(all, []byte(id))
		for session := range s.sessions {
			all = append(all, []byte(session))
		}
		for uid := range s.uids {
			all = append(all, longestPlain(uid))
		}
	}
	return all
}

// collect adds a line to the stories that it belongs to.
func (f *finder) collect(line []byte) {
	r, err := Parse(line)
	if err != nil {
		return
	}
	r.line = f.line
	id, session, uid := r.Get("id"), r.Get("session"), r.uid()
	for _, s := range f.stories {
		switch {
		case id == s.ID, id == "" && s.uids[uid]:
			s.keep(&s.Events, r)
		case id == "" && s.sessions[session] && r.ofSession():
			s.keep(&s.around, r)
		}
	}
}

// ofSession tells whether a record, of no message, is about the session as a
// whole: not about another transaction of it.
func (r Record) ofSession() bool {
	if r.Msg != "answered" && r.Msg != "refused" {
		return r.Msg != "message accepted" && r.Msg != "message refused" && r.Msg != "message given up"
	}
	verb, _, _ := strings.Cut(strings.ToUpper(r.Get("command")), " ")
	return slices.Contains([]string{"HELO", "EHLO", "STARTTLS", "AUTH"}, verb)
}

// told gives the stories with their events in order. What the session did after
// the message is left out, unless it was lost: the client may not have got the
// reply.
func (f *finder) told() (stories []*Story) {
	for _, id := range f.order {
		s := f.stories[id]
		end := Record{}
		for _, r := range s.Events {
			if r.Get("id") == s.ID && compare(r, end) > 0 {
				end = r
			}
		}
		s.around = slices.DeleteFunc(s.around, func(r Record) bool {
			return compare(r, end) > 0 && r.Msg != "connection lost" && r.Msg != "session cut off"
		})
		s.Events = append(s.Events, s.around...)
		slices.SortFunc(s.Events, compare)
		if len(s.Events) > 0 { // else the log was taken away meanwhile
			stories = append(stories, &s.Story)
		}
	}
	slices.SortStableFunc(stories, func(a, b *Story) int { return compare(a.Events[0], b.Events[0]) })
	return stories
}

// compare puts records in the order of their times and, within one tick of the
// clock, in which they were read.
func compare(a, b Record) int {
	return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.line, b.line))
}

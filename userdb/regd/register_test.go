package regd

import (
	"bytes"
	"crypto/rsa"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"xm/hybrid"
	"xm/internal/regwire"
	"xm/userdb"
)

func TestRegistrationOverHTTP(t *testing.T) {
	s, _ := newServer(t)
	c := newClient(t, s)
	r := c.sign(c.request(regwire.Register, "alice"), newKey(), nil)
	c.want(r, "+OK registered")
	if !c.login("alice@localhost", "secret") {
		t.Error("the password is not good")
	}
	c.want(r, "-ERR "+errChallenge.Error())

	for name, change := range map[string]func(*regwire.Request){
		"-ERR the name is taken":                                         func(r *regwire.Request) { r.Name = "Alice@localhost" },
		"-ERR the name is kept for those who run the server":             func(r *regwire.Request) { r.Name = "root" },
		"-ERR names are registered under this server's own domains only": func(r *regwire.Request) { r.Name = "bob@elsewhere.example" },

		"-ERR that can't be a user name: it holds '/'":                           func(r *regwire.Request) { r.Name = "a/x" },
		"-ERR the record is no salt,hash of SCRAM-SHA-256":                       func(r *regwire.Request) { r.Record = "salt," + hash },
		"-ERR the request has fields too few, or too many, for what it wants":    func(r *regwire.Request) { r.Record = "" },
		"-ERR " + errChallenge.Error():                                           func(r *regwire.Request) { r.Challenge = "x" },
		"-ERR the public key can't be used: there is more than PEM blocks in it": func(r *regwire.Request) { r.Keys += "junk" },
	} {
		r := c.request(regwire.Register, "bob")
		change(&r)
		c.want(c.sign(r, newKey(), nil), name)
	}
	for _, key := range []*rsa.PrivateKey{nil, moreKeys()[0]} {
		c.want(c.sign(c.request(regwire.Register, "bob"), key, key), "-ERR nothing proves that the new key is yours")
	}
	// Mixed scripts.
	r = c.request(regwire.Register, "bоb")
	c.want(c.sign(r, newKey(), nil), "-ERR the name is taken")
	// The record that two lines would make.
	r = c.request(regwire.Register, "bob")
	r.Record += "\nmallory," + r.Record
	c.want(c.sign(r, newKey(), nil), "-ERR the record is no salt,hash of SCRAM-SHA-256")
	if users, err := s.Users.Users(); err != nil || len(users) != 1 {
		t.Errorf("there are %d users, %v", len(users), err)
	}
}

func TestChanges(t *testing.T) {
	s, _ := newServer(t)
	s.Policy = Closed // for new names
	c := newClient(t, s)
	alice, err := userdb.ParseRecord(strings.TrimSpace(registration("alice")))
	if err != nil {
		t.Fatal(err)
	}
	bob, err := userdb.ParseRecord("bob,salt," + hash) // without a key
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []userdb.Record{alice, bob} {
		if err := s.Users.Add(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	own, next := newKey(), moreKeys()[0]
	nextPEM := string(hybrid.MarshalPublicKey(&next.PublicKey))
	password := func(name string, key *rsa.PrivateKey) regwire.Request {
		r := c.request(regwire.Change, name)
		r.Keys = ""
		return c.sign(r, nil, key)
	}
	rotation := func(proof, key *rsa.PrivateKey) regwire.Request {
		r := c.request(regwire.Change, "alice")
		r.Keys, r.Record = nextPEM, ""
		return c.sign(r, proof, key)
	}
	removal := func(name string, key *rsa.PrivateKey) regwire.Request {
		r := c.request(regwire.Unregister, name)
		r.Keys, r.Record = "", ""
		return c.sign(r, nil, key)
	}
	const unsigned = "-ERR there is no such user, or this is not signed with the user's key"
	for _, r := range []regwire.Request{
		password("alice", nil), password("alice", next), password("bob", own), password("carol", own), password("carol", s.Key),
		removal("alice", next), removal("carol", s.Key), rotation(next, nil), rotation(next, next),
	} {
		c.want(r, unsigned)
	}
	tooMuch := c.request(regwire.Unregister, "alice")
	c.want(c.sign(tooMuch, own, own), "-ERR the request has fields too few, or too many, for what it wants")
	disabled := func(yes bool) {
		t.Helper()
		if _, err := s.Users.Set(t.Context(), alice.Name, func(settings *userdb.Settings) error { settings.Disabled = yes; return nil }); err != nil {
			t.Fatal(err)
		}
	}
	disabled(true)
	c.want(password("alice", own), unsigned)
	disabled(false)
	c.want(rotation(own, own), "-ERR nothing proves that the new key is yours")
	if !c.login("alice", "test") || c.login("alice", "secret") {
		t.Error("the password was changed")
	}

	change := password("alice@localhost", own)
	c.want(change, "+OK changed")
	if c.login("alice", "test") || !c.login("alice", "secret") {
		t.Error("the password was not changed")
	}
	c.want(change, "-ERR "+errChallenge.Error())

	late := password("alice", own)
	c.want(rotation(next, own), "+OK changed")
	if former, err := s.Users.FormerKeys(alice.Name); err != nil || len(former) != 1 || !bytes.Equal(former[0].Keys, alice.Keys) {
		t.Errorf("the former keys: %v, %v", former, err)
	}
	if _, pem := c.get("/keys/alice"); pem != nextPEM {
		t.Errorf("the key is %q", pem)
	}
	if !c.login("alice", "secret") {
		t.Error("the password was changed")
	}
	c.want(late, unsigned)
	c.want(removal("alice", own), unsigned)
	empty := removal("alice", next)
	empty.Action = regwire.Change
	c.want(c.sign(empty, nil, next), "-ERR the request has fields too few, or too many, for what it wants")
	c.want(removal("alice", next), "+OK registered no more")
	if c.login("alice", "secret") {
		t.Error("alice can log in")
	}
}

func TestPolicies(t *testing.T) {
	s, _ := newServer(t)
	s.Policy = Invite
	c := newClient(t, s)
	code, err := s.Users.NewInvite(t.Context(), time.Hour, "")
	if err != nil {
		t.Fatal(err)
	}
	invited := func(name, code string) regwire.Request {
		r := c.request(regwire.Register, name)
		r.Invite = code
		return c.sign(r, newKey(), nil)
	}
	refused := "-ERR " + userdb.ErrInvite.Error()
	c.want(invited("alice", ""), "-ERR "+errInvite.Error())
	c.want(invited("alice", "AAAAA-AAAAA-AAAAA-AAAAA"), refused)
	c.want(invited("alice", code), "+OK registered")
	c.want(invited("bob", code), refused)

	closed, _ := newServer(t)
	closed.Policy = Closed
	c = newClient(t, closed)
	c.want(invited("alice", ""), "-ERR this server registers nobody: ask its operator")
	for _, s := range []*Server{s, closed} {
		if got := ask(t, start(t, s), seal(t, &s.Key.PublicKey, registration("carol"))); !strings.HasPrefix(got, "-ERR not everybody may register here") {
			t.Errorf("the original's protocol: %q", got)
		}
	}
}

// 20 clients register 200 names, 20 of them twice.
func TestManyRegistrations(t *testing.T) {
	s, dir := newServer(t)
	c := newClient(t, s)
	names := make(chan string)
	var mu sync.Mutex
	answers := map[string]int{}
	var clients sync.WaitGroup
	for range 20 {
		clients.Go(func() {
			for name := range names {
				text := c.post(c.sign(c.request(regwire.Register, name), newKey(), nil))
				mu.Lock()
				answers[text]++
				mu.Unlock()
			}
		})
	}
	for i := range 220 {
		names <- fmt.Sprint("user", i%200)
	}
	close(names)
	clients.Wait()
	if answers["+OK registered"] != 200 || answers["-ERR the name is taken"] != 20 {
		t.Errorf("answered: %v", answers)
	}
	content, err := os.ReadFile(dir + "/users.txt")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 200 {
		if n := strings.Count("\n"+string(content), fmt.Sprintf("\nuser%d,", i)); n != 1 {
			t.Errorf("user%d is there %d times", i, n)
		}
	}
}

// Of changes at once, signed with one key, none is made after that key was
// replaced.
func TestConcurrentRotations(t *testing.T) {
	s, _ := newServer(t)
	c := newClient(t, s)
	c.want(c.sign(c.request(regwire.Register, "alice"), newKey(), nil), "+OK registered")
	next := moreKeys()[0]
	var requests []regwire.Request
	for range 20 {
		r := c.request(regwire.Change, "alice")
		r.Keys, r.Record = string(hybrid.MarshalPublicKey(&next.PublicKey)), ""
		requests = append(requests, c.sign(r, next, newKey()))
	}
	var changed atomic.Int32
	var clients sync.WaitGroup
	for _, r := range requests {
		clients.Go(func() {
			if c.post(r) == "+OK changed" {
				changed.Add(1)
			}
		})
	}
	clients.Wait()
	if changed.Load() != 1 {
		t.Errorf("%d were made", changed.Load())
	}
}

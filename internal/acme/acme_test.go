package acme

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	rfc8555 "golang.org/x/crypto/acme"

	"xm/internal/disk"
	"xm/internal/line/linetest"
)

const (
	authority = "https://ca.example.org/directory"
	hostname  = "mail.example.org"
	lifetime  = 90 * 24 * time.Hour
)

// attempts are those of a Manager, as a stub sees them.
type attempts struct {
	*Manager
	t     *testing.T
	log   *linetest.Log
	start time.Time
	made  []time.Duration // since the start
	keys  []crypto.PublicKey
	fail  error // what they come to, nil for success
	chain func(names []string, key crypto.PublicKey) [][]byte
}

// manage opens a directory for a Manager whose attempts are noted.
func manage(t *testing.T, dir string) *attempts {
	t.Helper()
	log := &linetest.Log{}
	m, err := Open(Settings{Dir: dir, URL: authority, SelfSigned: selfSigned, Log: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	a := &attempts{Manager: m, t: t, log: log, start: time.Now()}
	ca := newCA(t)
	a.chain = func(names []string, key crypto.PublicKey) [][]byte {
		return ca.issue(t, names, key, time.Now(), time.Now().Add(lifetime))
	}
	m.issue = func(ctx context.Context, key crypto.Signer, names []string) ([][]byte, error) {
		a.made = append(a.made, time.Since(a.start))
		a.keys = append(a.keys, key.Public())
		if a.fail != nil {
			return nil, a.fail
		}
		return a.chain(names, key.Public()), nil
	}
	if err := m.Prepare([]string{hostname}); err != nil {
		t.Fatal(err)
	}
	return a
}

// run runs the Manager for a while.
func (a *attempts) run(d time.Duration) {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(a.t.Context(), d)
	defer cancel()
	a.Run(ctx)
}

// want compares the times of the attempts since the last want.
func (a *attempts) want(times ...time.Duration) {
	a.t.Helper()
	if !slices.Equal(a.made, times) {
		a.t.Errorf("attempts at %v, want %v\n%s", a.made, times, a.log)
	}
	a.made = nil
}

func (a *attempts) status() Status {
	a.t.Helper()
	s, err := Read(a.Dir)
	if err != nil || s.Leaf == nil {
		a.t.Fatalf("%+v, %v", s, err)
	}
	return s
}

func TestRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const third, day = lifetime / 3, 24 * time.Hour
		a := manage(t, filepath.Join(t.TempDir(), "acme"))
		if s := a.status(); s.From != "" || s.Leaf.VerifyHostname(hostname) != nil {
			t.Errorf("what stands in is from %q: %v", s.From, s.Leaf.DNSNames)
		}
		a.run(2*third - time.Minute)
		a.want(0)
		first := a.status()
		if first.From != authority || !first.Renewal.Equal(a.start.Add(2*third)) || first.Failure != (Failure{}) {
			t.Errorf("%+v", first)
		}
		a.run(3 * third)
		a.want(2*third, 4*third)
		if s := a.status(); s.Leaf.Equal(first.Leaf) || !s.Leaf.PublicKey.(interface{ Equal(crypto.PublicKey) bool }).Equal(first.Leaf.PublicKey) {
			t.Error("it was not renewed with the same key")
		}
		// A renewal that fails leaves the certificate in use.
		held := a.status().Leaf
		a.fail = errors.New("no")
		a.run(third + 10*time.Minute)
		a.want(6*third, 6*third+5*time.Minute)
		a.fail = nil
		if s := a.status(); !s.Leaf.Equal(held) || s.Failure.Attempts != 2 || s.Failure.Error != "no" {
			t.Errorf("after failures: %+v", s)
		}
		a.run(day)
		a.want(6*third + 15*time.Minute)
		for name, mode := range map[string]os.FileMode{"": 0o700, certificateFile: 0o600} {
			if st, err := os.Stat(filepath.Join(a.Dir, name)); err != nil || st.Mode().Perm() != mode {
				t.Errorf("%q: %v, %v", name, st.Mode(), err)
			}
		}
	})
}

func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const minute, hour = time.Minute, time.Hour
		a := manage(t, t.TempDir())
		a.fail = errors.New("no")
		a.run(30 * hour)
		a.want(0, 5*minute, 15*minute, 35*minute, 75*minute, 155*minute, 315*minute, 635*minute,
			635*minute+6*hour, 635*minute+12*hour, 635*minute+18*hour)
		if s := a.status(); s.From != "" || s.Failure.Attempts != 11 || strings.Count(a.log.String(), "level=ERROR") != 11 {
			t.Errorf("%+v\n%s", s, a.log)
		}
		// Another process does not begin anew, unless it is asked to, and even then
		// not at once after an attempt.
		again := manage(t, a.Dir)
		again.fail = a.fail
		again.run(4 * hour)
		again.want()
		if !strings.Contains(again.log.String(), "the last attempt to obtain a TLS certificate failed") {
			t.Errorf("it does not say why it waits:\n%s", again.log)
		}
		again.Retry()
		again.run(30 * time.Second)
		again.want(4 * hour)
		for range 3 {
			again.Retry()
			again.Retry()
			again.run(10 * time.Second)
		}
		again.run(5 * minute)
		again.want(4*hour + minute)
	})
}

// While it runs, it is woken.
func TestRetryWakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := manage(t, t.TempDir())
		a.fail = errors.New("no")
		time.AfterFunc(2*time.Minute, a.Retry)
		a.run(5*time.Minute + time.Second)
		a.want(0, 2*time.Minute)
	})
}

// An attempt is noted before it begins, for the case that the process dies; a stop
// of the server is no failure.
func TestInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := manage(t, t.TempDir())
		var noted Failure
		a.issue = func(ctx context.Context, _ crypto.Signer, _ []string) ([][]byte, error) {
			noted, _ = readFailure(a.root)
			<-ctx.Done()
			return nil, ctx.Err()
		}
		a.run(time.Minute)
		if noted.Attempts != 1 || noted.Next.Sub(noted.Time) != firstBackoff {
			t.Errorf("during the attempt, failure.json says %+v", noted)
		}
		if f := a.status().Failure; f != (Failure{}) {
			t.Errorf("after the stop, failure.json says %+v", f)
		}
		a.run(attemptTime + time.Minute)
		if f := a.status().Failure; f.Error != context.DeadlineExceeded.Error() {
			t.Errorf("an attempt that takes for ever: %+v", f)
		}
	})
}

func TestNamesAndAuthorityChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := manage(t, t.TempDir())
		prepare := func(names ...string) {
			t.Helper()
			if err := a.Prepare(names); err != nil {
				t.Fatal(err)
			}
			a.Retry()
			a.run(time.Hour)
		}
		prepare(hostname)
		a.want(0)
		prepare(hostname, "pop.example.org")
		a.want(time.Hour)
		if s := a.status(); s.Leaf.VerifyHostname("pop.example.org") != nil {
			t.Error("it is not for the new name")
		}
		prepare("pop.example.org") // it does for fewer
		a.want()
		a.URL = "https://other.example.org/directory"
		prepare(hostname)
		a.want(3 * time.Hour)
		if s := a.status(); s.From != a.URL {
			t.Errorf("it is from %s", s.From)
		}
	})
}

// The authority's word counts, where it is longer.
func TestRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := manage(t, t.TempDir())
		a.fail = &rfc8555.Error{StatusCode: 429, ProblemType: problemType + "rateLimited", Header: http.Header{"Retry-After": {"86400"}}}
		a.run(25 * time.Hour)
		a.want(0, 24*time.Hour)
		for text, want := range map[string]time.Duration{"": 0, "x": 0, "-5": 0, "0": 0, "7": 7 * time.Second, "2000000000": maxRetryAfter,
			time.Now().Add(time.Hour).UTC().Format(http.TimeFormat): time.Hour} {
			if got := retryAfter(http.Header{"Retry-After": {text}}); got != want {
				t.Errorf("Retry-After: %s is %v, want %v", text, got, want)
			}
		}
	})
}

// A clock that was ahead once does not delay for ever.
func TestClockWasAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := manage(t, t.TempDir())
		ahead := time.Now().AddDate(5, 0, 0)
		if err := a.note(Failure{Time: ahead, Attempts: 1, Next: ahead.Add(firstBackoff)}); err != nil {
			t.Fatal(err)
		}
		a.run(time.Minute)
		a.want(0)
	})
}

// What the authority issues is looked at before it is put in use.
func TestIssuedIsUnusable(t *testing.T) {
	ca, other := newCA(t), newKey(t).Public()
	for name, c := range map[string]struct {
		chain func(names []string, key crypto.PublicKey, now time.Time) [][]byte
		err   string
		taken bool
	}{
		"no chain": {func([]string, crypto.PublicKey, time.Time) [][]byte { return nil }, "can't be used", false},
		"no DER":   {func([]string, crypto.PublicKey, time.Time) [][]byte { return [][]byte{[]byte("x")} }, "can't be used", false},
		"another's key": {func(n []string, _ crypto.PublicKey, now time.Time) [][]byte {
			return ca.issue(t, n, other, now, now.Add(lifetime))
		}, "private key", false},
		"other names": {func(_ []string, k crypto.PublicKey, now time.Time) [][]byte {
			return ca.issue(t, []string{"x.example"}, k, now, now.Add(lifetime))
		}, "valid for x.example", false},
		"expired": {func(n []string, k crypto.PublicKey, now time.Time) [][]byte {
			return ca.issue(t, n, k, now.Add(-lifetime), now)
		}, errDue.Error(), false},
		"nearly expired": {func(n []string, k crypto.PublicKey, now time.Time) [][]byte {
			return ca.issue(t, n, k, now.Add(-lifetime), now.Add(lifetime/3))
		}, errDue.Error(), true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := manage(t, t.TempDir())
				before := a.status().Leaf
				a.chain = func(n []string, k crypto.PublicKey) [][]byte { return c.chain(n, k, time.Now()) }
				a.run(time.Hour)
				a.want(0, 5*time.Minute, 15*time.Minute, 35*time.Minute)
				s := a.status()
				if !strings.Contains(s.Failure.Error, c.err) {
					t.Errorf("the failure is %q, want %q", s.Failure.Error, c.err)
				}
				if s.Leaf.Equal(before) == c.taken {
					t.Errorf("taken: %t, want %t", !c.taken, c.taken)
				}
			})
		})
	}
}

func TestBrokenFiles(t *testing.T) {
	for _, name := range []string{certificateFile, accountFile, failureFile} {
		for what, content := range map[string]string{"empty": "", "garbage": "x", "half": "Obtained from " + authority + "\n-----BEGIN PRIVATE KEY-----\nMIG"} {
			t.Run(what+" "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					dir := t.TempDir()
					path := filepath.Join(dir, name)
					if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
						t.Fatal(err)
					}
					a := manage(t, dir)
					issue := a.issue
					a.issue = func(ctx context.Context, key crypto.Signer, names []string) ([][]byte, error) {
						if _, err := a.accountKey(); err != nil {
							return nil, err
						}
						return issue(ctx, key, names)
					}
					a.run(time.Minute)
					a.want(0)
					if s := a.status(); s.From != authority || !strings.Contains(a.log.String(), name) {
						t.Errorf("%+v\n%s", s, a.log)
					}
					if aside, err := os.ReadFile(path + broken); name != failureFile && (err != nil || string(aside) != content) {
						t.Errorf("set aside: %q, %v", aside, err)
					}
				})
			})
		}
	}
}

// Two processes that start at once have one certificate.
func TestPrepareTogether(t *testing.T) {
	dir := t.TempDir()
	var both sync.WaitGroup
	var leaves [2][]byte
	for i := range leaves {
		both.Go(func() { leaves[i] = manage(t, dir).status().Leaf.Raw })
	}
	both.Wait()
	if leaves[0] == nil || !bytes.Equal(leaves[0], leaves[1]) {
		t.Error("they have not")
	}
}

// A directory that can't be written costs the authority nothing.
func TestUnwritable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := manage(t, t.TempDir())
		if err := os.Mkdir(filepath.Join(a.Dir, failureFile), 0o700); err != nil { // not to be replaced by a file
			t.Fatal(err)
		}
		a.run(time.Hour)
		a.want()
		if !strings.Contains(a.log.String(), "can't be written") {
			t.Errorf("the log says\n%s", a.log)
		}
	})
}

// forgetful is a directory whose failure.json is written and can't be read.
type forgetful struct{ disk.Dir }

func (d forgetful) Open(name string) (disk.File, error) {
	if name == failureFile {
		return nil, syscall.EIO
	}
	return d.Dir.Open(name)
}

func TestUnreadable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := manage(t, t.TempDir())
		a.root, a.fail = forgetful{a.root}, errors.New("no")
		a.run(20 * time.Minute)
		a.want(0, 5*time.Minute, 15*time.Minute)
	})
}

func TestReadWhereNothingIs(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Join(dir, "missing")} {
		if s, err := Read(d); err != nil || s != (Status{}) {
			t.Errorf("%s: %+v, %v", d, s, err)
		}
	}
	if err := os.WriteFile(File(dir), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(dir); err == nil || !strings.Contains(err.Error(), certificateFile) {
		t.Errorf("of a broken file: %v", err)
	}
}

func TestMend(t *testing.T) {
	for want, err := range map[string]error{
		mends["dns"]: &rfc8555.AuthorizationError{Errors: []error{&rfc8555.Error{ProblemType: problemType + "dns"}}},
		mends["caa"]: &rfc8555.OrderError{Problem: &rfc8555.Error{ProblemType: problemType + "caa"}},
		mends["userActionRequired"] + " https://ca.example.org/terms": fmt.Errorf("x: %w",
			&rfc8555.Error{ProblemType: problemType + "userActionRequired", Instance: "https://ca.example.org/terms"}),
		"see that the authority can be reached": context.DeadlineExceeded,
		"set tls.acme_directory":                directoryError{&rfc8555.Error{StatusCode: 404}},
		"set the clock":                         errDue,
	} {
		if got := mend(err); !strings.HasPrefix(got, want) {
			t.Errorf("%v: %q, want %q", err, got, want)
		}
	}
	for _, err := range []error{errors.New("x"), &rfc8555.AuthorizationError{}, &rfc8555.OrderError{}, &rfc8555.Error{ProblemType: "x"}} {
		if got := mend(err); got != "" {
			t.Errorf("%v: %q", err, got)
		}
	}
}

// What is read as a certificate can be used as one.
func FuzzDecode(f *testing.F) {
	key := newKey(f)
	text, err := encode(authority, key, newCA(f).issue(f, []string{hostname}, key.Public(), time.Now(), time.Now().Add(lifetime)))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add(text[bytes.IndexByte(text, '\n')+1:])
	f.Add(text[:len(text)/2])
	f.Add([]byte("Obtained from \r\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := decode(text)
		if err != nil {
			return
		}
		again, err := encode(c.from, c.key, [][]byte{c.leaf.Raw})
		if err != nil {
			t.Fatal(err)
		}
		if d, err := decode(again); err != nil || d.from != c.from || !d.leaf.Equal(c.leaf) {
			t.Errorf("%+v, then %+v, %v", c, d, err)
		}
	})
}

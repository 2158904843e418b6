package commands

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"

	"xm/internal/disk"
	"xm/internal/message"
	"xm/internal/safefile"
)

// saver puts attachments into a directory, and nowhere else.
type saver struct {
	root disk.Dir
}

// newSaver refuses the directory of the keys: a file there may be taken for
// somebody's key.
func newSaver(dir, keys string) (*saver, error) {
	if err := safefile.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	root, err := disk.OpenDir(dir)
	if err != nil {
		return nil, err
	}
	here, err := root.Stat(".")
	if there, keysErr := os.Stat(keys); err == nil && keysErr == nil && os.SameFile(here, there) {
		err = usageErrorf("%s is where the keys are: save the attachments elsewhere", dir)
	}
	if err != nil {
		root.Close()
		return nil, err
	}
	return &saver{root}, nil
}

func (s *saver) close() { s.root.Close() }

// save writes a file under the attachment's name, or the next one that is free.
func (s *saver) save(a message.Attachment, content io.Reader) (path string, err error) {
	name, err := s.freeName(fileName(a.Name))
	if err != nil {
		return "", err
	}
	f, err := safefile.Create(s.root, name, 0o600)
	if err != nil {
		return "", err
	}
	defer f.Abort()
	w := &failingWriter{w: f}
	_, err = io.Copy(w, content)
	if w.err != nil {
		return "", w.err
	}
	// A part that is damaged is saved as far as it goes. What is wrong shows
	// again when the rest of it is read, and is told with the message.
	_ = err
	return filepath.Join(s.root.Name(), name), f.CommitNew()
}

// maxSameName bounds how many files of one name are numbered.
const maxSameName = 10_000

func (s *saver) freeName(name string) (string, error) {
	ext := filepath.Ext(name)
	stem := strings.TrimSuffix(name, ext)
	for n := 2; n < maxSameName; n++ {
		if _, err := s.root.Lstat(name); errors.Is(err, fs.ErrNotExist) {
			return name, nil
		} else if err != nil {
			return "", err
		}
		name = fmt.Sprintf("%s-%d%s", stem, n, ext)
	}
	return "", fmt.Errorf("%s: there are too many files of this name", name)
}

// failingWriter tells errors of a file from those of what is copied to it.
type failingWriter struct {
	w   io.Writer
	err error
}

func (f *failingWriter) Write(p []byte) (int, error) {
	n, err := f.w.Write(p)
	f.err = err
	return n, err
}

const (
	maxFileName = 200 // octets
	maxExt      = 20  // of them, for what is kept of an extension
)

// fileName makes a file's name of what an attachment says: no path, no hidden
// file, no character that could command a terminal or that shells treat as an
// option.
func fileName(name string) string {
	name = name[strings.LastIndexAny(name, `/\`)+1:]
	name = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || unicode.Is(unicode.Bidi_Control, r) {
			return '_'
		}
		return r
	}, name)
	name = strings.TrimLeft(strings.TrimSpace(name), ".-~ ")
	if len(name) > maxFileName {
		ext := filepath.Ext(name)
		if len(ext) > maxExt {
			ext = ""
		}
		end := maxFileName - len(ext)
		for !utf8.RuneStart(name[end]) {
			end--
		}
		name = name[:end] + ext
	}
	if name == "" {
		return "attachment"
	}
	return name
}

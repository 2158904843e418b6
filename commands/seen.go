package commands

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"xm/internal/mailclient"
	"xm/internal/safefile"
)

// seenFile, in the account's data directory, has a line for each encrypted
// message that was read: a hash of its signer and the Message-ID inside, and its
// id. It is only ever added to.
const seenFile = "seen"

// errReplayed is matched where a message was read before, in another one.
var errReplayed = errors.New("POSSIBLE REPLAY: the same message was read before")

// rememberRead notes that a message was read. The error matches errReplayed if
// it had come before, as another message.
func rememberRead(a account, listed mailclient.Listing, l *letter) error {
	id := messageID(listed.UID)
	if !l.payload || l.isBare || l.header.MessageID == "" || id == "" {
		return nil
	}
	dir, err := a.dataDir()
	if err != nil {
		return err
	}
	if err := safefile.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(dir, seenFile), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(l.signer + "\x00" + l.header.MessageID))
	line := hex.EncodeToString(sum[:16]) + " " + id
	return noteLine(f, line)
}

// noteLine adds a line to a file of them, unless it is there. A line that begins
// in the same way is the message's first appearance.
func noteLine(f lineFile, line string) error {
	key, id, _ := strings.Cut(line, " ")
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if before, found := strings.CutPrefix(lines.Text(), key+" "); found {
			if before == id {
				return nil
			}
			return fmt.Errorf("%w, as %s", errReplayed, mailclient.Printable(before))
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return addLine(f, line)
}

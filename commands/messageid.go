package commands

import (
	"crypto/sha256"
	"fmt"
	"strconv"
	"strings"

	"xm/internal/mailclient"
)

const (
	// idLength is that of a message's id, and shortID what of it a table shows.
	idLength = 12
	shortID  = 6
)

// messageID makes an id of a message's unique-id, which the server never changes. It
// has letters alone, so that it can't be taken for a number.
func messageID(uid string) string {
	if uid == "" {
		return "" // the server has no names for messages
	}
	sum := sha256.Sum256([]byte(uid))
	id := make([]byte, idLength)
	for i := range id {
		id[i] = 'a' + sum[i]%16
	}
	return string(id)
}

// findMessage finds the message that a word of the command line means: a number,
// an id, or the beginning of one that no other has.
func findMessage(list []mailclient.Listing, word string) (mailclient.Listing, error) {
	var found []mailclient.Listing
	number, err := strconv.Atoi(word)
	for _, l := range list {
		if err == nil && l.Number == number || err != nil && word != "" && strings.HasPrefix(messageID(l.UID), word) {
			found = append(found, l)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return mailclient.Listing{}, usageErrorf("%q means more than one message: say more of its id", word)
	}
	return mailclient.Listing{}, fmt.Errorf("message %s: %w: xm inbox lists what is there", strconv.Quote(word), errNotFound)
}

// checkMessageWord refuses what can be neither a number nor an id.
func checkMessageWord(word string) error {
	number, err := strconv.Atoi(word)
	if err == nil && number > 0 || err != nil && word != "" && strings.Trim(word, "abcdefghijklmnop") == "" {
		return nil
	}
	return usageErrorf("%q is neither a message's number nor an id: xm inbox lists them", word)
}

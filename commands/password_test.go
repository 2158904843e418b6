package commands

import (
	"strings"
	"testing"
)

// The line end is no part of a password, nor of its length.
func TestLongestPassword(t *testing.T) {
	for octets, fits := range map[int]bool{maxPassword: true, maxPassword + 1: false} {
		for _, end := range []string{"", "\n", "\r\n"} {
			text, err := password.fromLine(strings.Repeat("x", octets) + end)
			if (err == nil) != fits || fits && len(text) != octets {
				t.Errorf("%d octets and %q: %d octets, %v", octets, end, len(text), err)
			}
		}
	}
}

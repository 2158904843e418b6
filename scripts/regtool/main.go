// Command regtool seals and opens unsigned payloads of any message, which no xm
// command does: xm register seals registrations alone. For scripts/interop.sh.
//
//	regtool seal PUBLIC-KEY-FILE  < message > payload
//	regtool open PRIVATE-KEY-FILE < payload > message
package main

import (
	"fmt"
	"io"
	"os"

	"xm/hybrid"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "regtool:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("usage: regtool seal|open KEY-FILE")
	}
	pem, err := os.ReadFile(args[1])
	if err != nil {
		return err
	}
	in, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	out, err := convert(args[0], pem, in)
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(out)
	return err
}

func convert(verb string, pem, in []byte) ([]byte, error) {
	if verb == "seal" {
		key, err := hybrid.ParsePublicKey(pem)
		if err != nil {
			return nil, err
		}
		return hybrid.SealUnsigned(in, key)
	}
	key, err := hybrid.ParsePrivateKey(pem)
	if err != nil {
		return nil, err
	}
	return hybrid.OpenUnsigned(in, key)
}

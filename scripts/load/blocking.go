package main

import (
	"net"
	"syscall"
)

// blocking is a TCP connection that is read and written with one system call
// each, by a thread that waits in it. Go's own costs up to three more a response,
// which would be measured, too.
type blocking struct {
	net.Conn
	fd int
}

// block takes the connection over.
func block(conn *net.TCPConn) (*blocking, error) {
	f, err := conn.File() // in blocking mode, with a descriptor of its own
	if err != nil {
		return nil, err
	}
	defer f.Close()
	defer conn.Close()
	fd, err := syscall.Dup(int(f.Fd()))
	if err != nil {
		return nil, err
	}
	return &blocking{conn, fd}, syscall.SetNonblock(fd, false)
}

func (b *blocking) Read(p []byte) (int, error) {
	for {
		n, err := syscall.Read(b.fd, p)
		switch {
		case err == syscall.EINTR:
		case err != nil:
			return 0, err
		case n == 0:
			return 0, net.ErrClosed
		default:
			return n, nil
		}
	}
}

func (b *blocking) Write(p []byte) (int, error) {
	for written := 0; ; {
		n, err := syscall.Write(b.fd, p[written:])
		if err != nil && err != syscall.EINTR {
			return written, err
		}
		if written += max(n, 0); written == len(p) {
			return written, nil
		}
	}
}

func (b *blocking) Close() error { return syscall.Close(b.fd) }

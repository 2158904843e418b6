//go:build !race

package smtpd

const idleSessions = 10_000

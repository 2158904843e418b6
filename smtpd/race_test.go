//go:build race

package smtpd

// idleSessions is what the race detector's limit of 8128 goroutines has room for.
const idleSessions = 3000

module xm

go 1.26.4

require (
	github.com/xdg-go/stringprep v1.0.4
	golang.org/x/text v0.43.0
)

require golang.org/x/sys v0.49.0 // indirect

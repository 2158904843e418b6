package commands

import (
	"runtime"
	"runtime/debug"
	"testing"
)

// Each processor has memory of its own: with many, a stream's would be collected all the
// time to stay below the limit.
func TestStayWithin32MiB(t *testing.T) {
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(-1))
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(64))
	stayWithin32MiB()
	if n := runtime.GOMAXPROCS(0); n > 4 {
		t.Errorf("%d processors", n)
	}
	if limit := debug.SetMemoryLimit(-1); limit > 20<<20 {
		t.Errorf("%d octets of heap", limit)
	}
	runtime.GOMAXPROCS(1)
	stayWithin32MiB()
	if n := runtime.GOMAXPROCS(0); n != 1 {
		t.Errorf("%d processors where there is one", n)
	}
}

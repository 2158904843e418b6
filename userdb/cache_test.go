package userdb

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestRememberedLoginExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c loginCache
		c.init()
		alice := Record{Name: name(t, "alice"), Salt: "salt", Hash: "hash"}
		c.add(alice, "secret")
		time.Sleep(cacheLifetime - time.Second)
		if !c.has(alice, "secret") || c.has(alice, "Secret") {
			t.Error("it is forgotten, or another is known")
		}
		time.Sleep(time.Second)
		if c.has(alice, "secret") {
			t.Error("it is remembered for ever")
		}
	})
}

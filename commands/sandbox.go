package commands

import (
	"log/slog"
	"path/filepath"

	"github.com/landlock-lsm/go-landlock/landlock"

	"xm/internal/config"
)

// readable is what a server may read besides its own files: what names, time
// zones and certificate authorities are looked up in.
var readable = []string{"/etc", "/usr/share/zoneinfo", "/usr/share/ca-certificates", "/usr/local/share/ca-certificates", "/run/systemd/resolve", "/proc/self"}

// restrict takes from the process all files that it does not need, where the
// kernel has Landlock. It has to open its ports before.
func restrict(cfg config.Config, log *slog.Logger) {
	read := append([]string{cfg.Regd.Keys}, readable...)
	cert, key := certificateFiles(cfg)
	for _, f := range []string{cfg.File, cert, key} {
		if f == "" {
			continue
		}
		read = append(read, filepath.Dir(f))
		if real, err := filepath.EvalSymlinks(f); err == nil { // certbot's are links
			read = append(read, filepath.Dir(filepath.Dir(real)))
		}
	}
	written := []string{cfg.DataDir}
	if cfg.TLS.ACME {
		written = append(written, cfg.ACMEState())
	}
	err := landlock.V6.BestEffort().RestrictPaths(
		landlock.RODirs(read...).IgnoreIfMissing(),
		landlock.ROFiles("/dev/null", "/dev/tty").IgnoreIfMissing(),
		landlock.RWDirs(written...).WithRefer(),
	)
	if err != nil {
		log.Warn("Landlock does not restrict this process", "err", err)
	}
}

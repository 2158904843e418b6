package commands

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"xm/internal/config"
	"xm/internal/line"
)

// needRestart are the settings that a reload does not change, by the beginnings
// of their names: ports, files that the sandbox has been told of, and the log.
var needRestart = []string{
	"data_dir", "smtp.listen", "submission.listen", "pop3.listen", "regd.listen", "regd.keys", "metrics.listen",
	"tls.acme", "log.",
}

// reload reads the settings, users and certificate again, and starts a new
// generation. The sessions that there are go on under the old settings.
func (r *runner) reload(ctx context.Context, cancel func()) (err error) {
	if ctx.Err() != nil {
		return nil // all is stopping
	}
	// From the same file: that it is gone is no reason for the defaults.
	cfg, err := loadConfigFile(r.c, cmp.Or(r.cfg.File, r.c.String("config")))
	if err != nil {
		return err
	}
	changed, err := r.changes(&cfg)
	if err != nil {
		return err
	}
	if err := r.reloadACME(cfg); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.reloadACME(r.cfg))
		}
	}()
	// The host knows of a users.txt that is gone, which the next would take for a server
	// without users.
	if records, err := r.host.db.Users(); records == nil && err != nil {
		return err
	}
	h, err := openHost(r.c, cfg, r.log, r.acme)
	if err != nil {
		return err
	}
	h.keep(r.host)
	g, err := r.prepare(h)
	if err != nil {
		return errors.Join(err, h.close())
	}
	r.cfg = cfg
	r.begin(ctx, cancel, g)
	if r.acme != nil {
		r.acme.Retry()
	}
	r.log.Info("settings read again", "changed", strings.Join(changed, " "))
	return nil
}

// changes lists the settings that change. Those that can't, it reports, and puts
// back.
func (r *runner) changes(cfg *config.Config) (changed []string, err error) {
	before, err := values(&r.cfg)
	if err != nil {
		return nil, err
	}
	after, err := values(cfg)
	if err != nil {
		return nil, err
	}
	for key := range before {
		if _, ok := after[key]; !ok {
			changed = append(changed, key)
		}
	}
	for key, value := range after {
		switch {
		case needsRestart(key):
			if value != r.atRun[key] {
				r.log.Warn("this setting changes at a restart alone", "setting", key, "in force", r.atRun[key], "new", value)
			}
		case value != before[key]:
			changed = append(changed, key)
		}
	}
	slices.Sort(changed)
	cfg.DataDir, cfg.Regd.Keys = r.cfg.DataDir, r.cfg.Regd.Keys
	if r.cfg.TLS.ACME || cfg.TLS.ACME {
		cfg.TLS = r.cfg.TLS
	}
	return changed, nil
}

func needsRestart(key string) bool {
	for _, k := range needRestart {
		if strings.HasPrefix(key, k) {
			return true
		}
	}
	return false
}

func values(cfg *config.Config) (map[string]string, error) {
	settings, err := cfg.Settings()
	if err != nil {
		return nil, err
	}
	m := map[string]string{}
	for _, s := range settings {
		m[s.Key] = s.Value
	}
	return m, nil
}

// keep takes over what counts, as far as its settings are the same: who has how
// many connections, and who has guessed how often.
func (h *host) keep(old *host) {
	for _, l := range []struct{ now, before **line.Limits }{
		{&h.smtpLimits, &old.smtpLimits}, {&h.pop3Limits, &old.pop3Limits}, {&h.regdLimits, &old.regdLimits},
	} {
		(*l.now).Addresses = (*l.before).Addresses
		if (*l.now).MaxConns == (*l.before).MaxConns && (*l.now).MaxPerAddr == (*l.before).MaxPerAddr {
			*l.now = *l.before
		}
	}
	if h.pop3Delay != nil && old.pop3Delay != nil && h.pop3Delay.Delay == old.pop3Delay.Delay {
		h.pop3Delay = old.pop3Delay
	}
	if h.logins.MaxFailures == old.logins.MaxFailures {
		h.logins = old.logins
	}
}

package regd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"

	"xm/hybrid"
	"xm/internal/line"
	"xm/internal/regwire"
	"xm/internal/sasl"
	"xm/userdb"
)

var (
	errSealed = errors.New("the payload was not sealed with this server's key, or was changed")
	// What it holds may not be its sender's, who must not learn anything of it.
	errForeign = errors.New("the payload holds no request that is known here")
	errTooMany = errors.New("too many registrations from your address, try again later")
	errInvite  = errors.New("this server wants an invite: xm register --invite CODE, with the code that its operator gives")
	// One text for a name that does not exist, one without a key or disabled, and a
	// wrong signature.
	errUnsigned = errors.New("there is no such user, or this is not signed with the user's key")
)

// refusal is an error that is the client's: text is what it gets to know.
type refusal struct{ text, cause error }

func refuse(err error) refusal { return refusal{err, err} }

func (r refusal) Error() string { return r.text.Error() }

// unproven reports whether an error is that of a request without a right to what
// it wants: the same as a login with a wrong password.
func unproven(err error) bool {
	var r refusal
	return errors.As(err, &r) && (r.text == errUnsigned || r.text == userdb.ErrInvite)
}

// guarded does what a request wants, unless its address has guessed too often, at
// any service.
func (h *handler) guarded(ctx context.Context, peer netip.Addr, log *slog.Logger, perform func() (string, error)) (string, error) {
	done, err := h.Logins.Begin(ctx, peer)
	if errors.Is(err, sasl.ErrTooMany) {
		line.Abuse(log, err.Error())
		return "", refuse(errTooMany)
	}
	if err != nil {
		return "", err
	}
	failed := true // as long as nothing else is known
	defer func() { done(failed) }()
	text, err := perform()
	failed = unproven(err)
	return text, err
}

// outcome gives the line that answers a request, and logs what came of it.
func (h *handler) outcome(log *slog.Logger, event, done string, err error) (text string, ok bool) {
	var refused refusal
	switch {
	case err == nil:
		log.Info(event)
		return "+OK " + done, true
	case errors.As(err, &refused):
		what := "registration refused"
		if unproven(err) {
			what = "login failed"
		}
		log.Warn(what, "err", refused.cause)
		return "-ERR " + refused.Error(), false
	}
	log.Error("registration failed", "err", err)
	return "-ERR trouble on our side, try again later", false
}

// checkName refuses what strangers can't be called.
func (h *handler) checkName(n userdb.Name) error {
	switch {
	case n.Role():
		return refuse(errors.New("the name is kept for those who run the server"))
	case n.Domain() != "" && !h.Users.Local(n.Domain()):
		return refusal{errors.New("names are registered under this server's own domains only"), fmt.Errorf("domain %s", n.Domain())}
	}
	return nil
}

// added says what an error of adding a user means to the client.
func (h *handler) added(err error) error {
	for _, reason := range []error{userdb.ErrTaken, userdb.ErrInvite} {
		if errors.Is(err, reason) {
			return refusal{reason, err}
		}
	}
	return err
}

// order is a Request that was read and makes sense. What its signatures are worth
// is not known yet.
type order struct {
	regwire.Request
	name   userdb.Name
	record userdb.Record // its Hash is empty if the password stays
}

func readOrder(r regwire.Request) (o order, err error) {
	o.Request = r
	if o.name, err = userdb.ParseName(r.Name); err != nil {
		return o, refusal{fmt.Errorf("that can't be a user name: %w", errors.Unwrap(err)), err}
	}
	if r.Record != "" {
		o.record, err = userdb.ParseRecord(r.Name + "," + r.Record)
		if err != nil || len(o.record.Keys) > 0 || o.record.Kind() != "SCRAM-SHA-256" {
			return o, refusal{errors.New("the record is no salt,hash of SCRAM-SHA-256"), err}
		}
	}
	if r.Keys != "" {
		if err := checkKeys([]byte(r.Keys)); err != nil {
			return o, refuse(err)
		}
	}
	wrong := false
	switch r.Action {
	case regwire.Register:
		wrong = r.Record == "" || r.Keys == ""
	case regwire.Change:
		wrong = r.Record == "" && r.Keys == ""
	case regwire.Unregister:
		wrong = r.Record != "" || r.Keys != ""
	}
	if wrong {
		return o, refuse(errors.New("the request has fields too few, or too many, for what it wants"))
	}
	return o, nil
}

// perform does what a Request wants, and returns what was done. No answer has a name
// in it: it may pass in clear, as the request does not.
func (h *handler) perform(ctx context.Context, r regwire.Request) (done string, err error) {
	o, err := readOrder(r)
	if err != nil {
		return "", err
	}
	if _, _, err := h.challenges.open(r.Challenge); err != nil {
		return "", refuse(err)
	}
	if r.Keys != "" {
		key, err := hybrid.ParsePublicKey([]byte(r.Keys))
		if err == nil {
			err = r.VerifyProof(&h.Key.PublicKey, key)
		}
		if err != nil {
			return "", refusal{errors.New("nothing proves that the new key is yours"), err}
		}
	}
	if r.Action == regwire.Register {
		return "registered", h.add(ctx, o)
	}
	return h.change(ctx, o)
}

func (h *handler) add(ctx context.Context, o order) error {
	if err := h.checkName(o.name); err != nil {
		return err
	}
	if h.Policy == Closed {
		return refuse(errors.New("this server registers nobody: ask its operator"))
	}
	if h.Policy == Invite && o.Invite == "" {
		return refuse(errInvite) // which guesses at nothing
	}
	if err := h.challenges.use(o.Challenge); err != nil {
		return refuse(err)
	}
	o.record.Keys = []byte(o.Keys)
	if h.Policy == Invite {
		return h.added(h.Users.AddInvited(ctx, o.record, o.Invite))
	}
	return h.added(h.Users.Add(ctx, o.record))
}

// change changes or removes a user, if the key on record vouches for it.
func (h *handler) change(ctx context.Context, o order) (done string, err error) {
	found, known, err := h.Users.Find(o.name.Local(), o.name.Domain())
	if err != nil {
		return "", err
	}
	if known {
		settings, err := h.Users.Settings(found.Name)
		if err != nil {
			return "", err
		}
		known = !settings.Disabled
	}
	// Where there is no key, another takes as long to check.
	key := &h.Key.PublicKey
	if own, err := hybrid.ParsePublicKey(found.Keys); err == nil {
		key = own
	} else {
		known = false
	}
	if err := o.VerifySignature(&h.Key.PublicKey, key); err != nil || !known {
		return "", refusal{errUnsigned, fmt.Errorf("the user is known, with a key, and not disabled: %v; %w", known, regwire.ErrSignature)}
	}
	if err := h.challenges.use(o.Challenge); err != nil {
		return "", refuse(err)
	}
	// What was found may have changed since.
	same := func(now userdb.Record) error {
		if string(now.Keys) != string(found.Keys) {
			return refusal{errUnsigned, errors.New("the key on record was changed meanwhile")}
		}
		return nil
	}
	if o.Action == regwire.Unregister {
		done = "registered no more"
		_, err = h.Users.Remove(ctx, found.Name, same)
	} else {
		done = "changed"
		_, err = h.Users.Replace(ctx, found.Name, func(now userdb.Record) (userdb.Record, error) {
			return o.apply(now), same(now)
		})
	}
	if errors.Is(err, userdb.ErrNoUser) {
		err = refusal{errUnsigned, err}
	}
	return done, err
}

// apply puts what an order changes into a record.
func (o order) apply(r userdb.Record) userdb.Record {
	if o.Record != "" {
		r.Salt, r.Hash = o.record.Salt, o.record.Hash
	}
	if o.Keys != "" {
		r.Keys = []byte(o.Keys)
	}
	return r
}

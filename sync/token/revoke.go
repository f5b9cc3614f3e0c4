package token

import (
	"slices"
	"strings"
	"sync"
	"time"
)

// Revocation locks out tokens that would still be valid: all of a subject, or only those of one
// of its sessions, that were issued at or before a time.
type Revocation struct {
	Subject string    `json:"subject"`
	Session string    `json:"session,omitempty"` // empty = all sessions
	Before  time.Time `json:"before"`
	Until   time.Time `json:"until"` // when the last of these tokens has expired and this is forgotten
}

// Revocations is the set of those in force. It may be used by many goroutines.
type Revocations struct {
	mu      sync.RWMutex // guards what follows
	set     map[[2]string]Revocation
	changed chan struct{} // closed at the next change
}

// NewRevocations returns an empty set.
func NewRevocations() *Revocations {
	return &Revocations{set: map[[2]string]Revocation{}, changed: make(chan struct{})}
}

// Set replaces all.
func (r *Revocations) Set(all []Revocation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.set)
	for _, one := range all {
		r.add(one)
	}
	r.notify()
}

// Add puts one more into the set; of two for the same tokens the later counts.
func (r *Revocations) Add(one Revocation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.add(one)
	r.notify()
}

func (r *Revocations) add(one Revocation) {
	key := [2]string{one.Subject, one.Session}
	old := r.set[key]
	if old.Before.After(one.Before) {
		one.Before = old.Before
	}
	if old.Until.After(one.Until) {
		one.Until = old.Until
	}
	r.set[key] = one
}

// notify forgets those whose tokens have all expired and wakes who waits.
func (r *Revocations) notify() {
	now := time.Now()
	for key, one := range r.set {
		if one.Until.Before(now) {
			delete(r.set, key)
		}
	}
	close(r.changed)
	r.changed = make(chan struct{})
}

// List returns those in force by subject and session.
func (r *Revocations) List() []Revocation {
	r.mu.RLock()
	defer r.mu.RUnlock()
	out := make([]Revocation, 0, len(r.set))
	for _, one := range r.set {
		out = append(out, one)
	}
	slices.SortFunc(out, func(a, b Revocation) int {
		return strings.Compare(a.Subject+"\x00"+a.Session, b.Subject+"\x00"+b.Session)
	})
	return out
}

// Revoked tells whether a caller's token is locked out. Callers without a signed token never
// are.
func (r *Revocations) Revoked(id *Identity) bool {
	if id.Issued.IsZero() {
		return false
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, session := range []string{"", id.Session} {
		if one, ok := r.set[[2]string{id.Subject, session}]; ok && !id.Issued.After(one.Before) {
			return true
		}
	}
	return false
}

// Changed returns a channel that is closed at the next change.
func (r *Revocations) Changed() <-chan struct{} {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.changed
}

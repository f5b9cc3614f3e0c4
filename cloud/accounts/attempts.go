package accounts

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
)

// allowance is how often something may fail or be asked for: count times in a window, then not
// until a lock ends that begins with first and doubles each time up to most.
type allowance struct {
	count       int
	window      time.Duration
	first, most time.Duration
}

var (
	guesses = allowance{5, time.Minute, time.Minute, 15 * time.Minute}  // wrong passwords of one account from one address
	sprays  = allowance{20, time.Minute, time.Minute, 15 * time.Minute} // wrong passwords from one address, of whatever account
	codes   = allowance{5, time.Minute, time.Minute, 15 * time.Minute}  // wrong claim codes
	signups = allowance{10, time.Hour, time.Hour, 4 * time.Hour}        // registrations from one address
	mails   = allowance{3, time.Hour, time.Hour, 4 * time.Hour}         // mails that strangers may have sent to one address
)

// forgiven is how long after the end of a lock the next begins small again.
const forgiven = time.Hour

// admit refuses what is locked, and otherwise counts an attempt before its outcome is known, so
// that many at once are not more than many in a row. One that goes well is forgiven.
func (a *Accounts) admit(ctx context.Context, why, attempt string, allow allowance) (locks bool, err error) {
	err = a.db.Update(ctx, func(tx *store.Tx) error {
		wait, err := a.locked(tx, attempt)
		if err != nil {
			return err
		}
		if wait > 0 {
			return tooMany(why, wait)
		}
		locks, err = a.failed(tx, attempt, allow)
		return err
	})
	return locks, err
}

// locked returns how long a thing is locked yet; 0 when it is not.
func (a *Accounts) locked(tx *store.Tx, attempt string) (time.Duration, error) {
	var until int64
	err := tx.QueryRow(`SELECT until FROM accounts_attempts WHERE attempt = ?`, attempt).Scan(&until)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read attempts: %w", err)
	}
	return max(0, store.FromMillis(until).Sub(a.now())), nil
}

// failed counts one failure and tells whether it was the one that locks.
func (a *Accounts) failed(tx *store.Tx, attempt string, allow allowance) (locks bool, err error) {
	now := a.now()
	var since, until int64
	var count, past int
	err = tx.QueryRow(`SELECT since, count, locks, until FROM accounts_attempts WHERE attempt = ?`, attempt).Scan(&since, &count, &past, &until)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return false, fmt.Errorf("read attempts: %w", err)
	}
	if now.Sub(store.FromMillis(since)) >= allow.window {
		since, count = store.Millis(now), 0
	}
	if now.Sub(store.FromMillis(until)) > forgiven {
		past = 0
	}
	if count++; count >= allow.count {
		lock := min(allow.first<<min(past, 10), allow.most)
		until, past, count, locks = store.Millis(now.Add(lock)), past+1, 0, true
	}
	const upsert = `INSERT INTO accounts_attempts (attempt, since, count, locks, until) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (attempt) DO UPDATE SET since = excluded.since, count = excluded.count, locks = excluded.locks, until = excluded.until`
	if err := tx.Exec(upsert, attempt, since, count, past, until); err != nil {
		return false, fmt.Errorf("count attempt: %w", err)
	}
	return locks, nil
}

// forgive forgets the failures of a thing that went well.
func (a *Accounts) forgive(tx *store.Tx, attempt string) error {
	return tx.Exec(`DELETE FROM accounts_attempts WHERE attempt = ?`, attempt)
}

// network is whom attempts of a caller are counted for: its address, of IPv6 the /64, because a
// single customer has all of those.
func network(r *route.Request) string {
	a, err := netip.ParseAddr(remote(r))
	if err != nil || a.Unmap().Is4() {
		return remote(r)
	}
	p, err := a.WithZone("").Prefix(64)
	if err != nil {
		return remote(r)
	}
	return p.String()
}

// remote is the address of a caller without its port.
func remote(r *route.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

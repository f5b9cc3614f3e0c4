package accounts

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
)

// The kinds of links; each is also the path under /auth where it is used.
const (
	verifyLink = "verify"
	resetLink  = "reset"
	inviteLink = "invitation"
)

// errLink is the answer to links that are not good, or not any more.
var errLink = route.Problem(http.StatusGone, "this link was used already, has expired, or is not whole; ask for a new one")

// newLink makes the address of a one-time link for a user. Earlier ones of its kind are no good
// any more.
func (a *Accounts) newLink(tx *store.Tx, kind, user string, life time.Duration) (string, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return "", fmt.Errorf("make link: %w", err)
	}
	expires := a.now().Add(life)
	if err := tx.Exec(`DELETE FROM accounts_links WHERE user_id = ? AND kind = ?`, user, kind); err != nil {
		return "", fmt.Errorf("make link: %w", err)
	}
	if err := tx.Exec(`INSERT INTO accounts_links (id, kind, user_id, expires) VALUES (?, ?, ?, ?)`, id.String(), kind, user, store.Millis(expires)); err != nil {
		return "", fmt.Errorf("make link: %w", err)
	}
	text := id.String() + "." + strconv.FormatInt(expires.Unix(), 10)
	return a.opts.PublicURL() + "/auth/" + kind + "?token=" + text + "." + a.keys.mac("link "+kind, text), nil
}

// openLink returns the id of a link that we have signed and that has not expired.
func (a *Accounts) openLink(kind, raw string) (id string, err error) {
	i := strings.LastIndexByte(raw, '.')
	if i < 0 || len(raw) > 200 || !a.keys.proves("link "+kind, raw[:i], raw[i+1:]) {
		return "", errLink
	}
	id, seconds, _ := strings.Cut(raw[:i], ".")
	expires, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil || a.now().Unix() >= expires {
		return "", errLink
	}
	return id, nil
}

// linkUser is the user of a link that is still good.
func (a *Accounts) linkUser(r *route.Request, kind, raw string) (u User, id string, err error) {
	if id, err = a.openLink(kind, raw); err != nil {
		return u, "", err
	}
	u, err = findUser(a.reading(r.Context()), `WHERE active = 1 AND id = (SELECT user_id FROM accounts_links WHERE id = ? AND kind = ?)`, id, kind)
	if errors.Is(err, ErrNoUser) {
		err = errLink
	}
	return u, id, err
}

// useLink uses a link up.
func useLink(tx *store.Tx, id string) error {
	n, err := tx.ExecCount(`DELETE FROM accounts_links WHERE id = ?`, id)
	if err == nil && n == 0 {
		err = errLink
	}
	return err
}

// mail sends a message about accounts, if there is a way to.
func (a *Accounts) mail(tx *store.Tx, org, to, subject, text string) error {
	if a.opts.Mail == nil {
		a.log.Warn("no mail is sent: accounts have no way to", "subject", subject)
		return nil
	}
	key, err := uuid.NewV7()
	if err != nil {
		return fmt.Errorf("number mail: %w", err)
	}
	if err := a.opts.Mail(tx, "accounts/"+key.String(), org, to, subject, text); err != nil {
		return fmt.Errorf("send mail: %w", err)
	}
	return nil
}

// sendLink mails a user a link.
func (a *Accounts) sendLink(tx *store.Tx, u User, kind string, life time.Duration, subject, text string) error {
	link, err := a.newLink(tx, kind, u.ID, life)
	if err != nil {
		return err
	}
	text = fmt.Sprintf("Hello %s,\n\n%s\n\n%s\n\nThe link works once, until %s.\n", u.Name, text, link, a.now().Add(life).UTC().Format("2 January 2006 15:04 UTC"))
	org := ""
	if orgs := u.orgs(); len(orgs) > 0 {
		org = orgs[0]
	}
	return a.mail(tx, org, u.Email, subject, text)
}

// mailed counts a mail that a stranger can have sent to an address, and tells whether that is
// one too many.
func (a *Accounts) mailed(tx *store.Tx, email string) (late bool, err error) {
	attempt := "mail:" + emailKey(email)
	wait, err := a.locked(tx, attempt)
	if err != nil || wait > 0 {
		return true, err
	}
	_, err = a.failed(tx, attempt, mails)
	return false, err
}

func (a *Accounts) sendVerification(tx *store.Tx, u User) error {
	if late, err := a.mailed(tx, u.Email); err != nil || late {
		return err
	}
	return a.sendLink(tx, u, verifyLink, VerifyLife, "Confirm your mail address",
		"please confirm that this is your mail address for Headcount. If you have not asked for an account, do nothing.")
}

// sendChoice mails the link by which somebody who begins chooses a password.
func (a *Accounts) sendChoice(tx *store.Tx, u User) error {
	if late, err := a.mailed(tx, u.Email); err != nil || late {
		return err
	}
	return a.sendLink(tx, u, inviteLink, InviteLife, "Choose a password",
		"this address was given for an account of Headcount. Choose a password to begin. If you do not want an account, do nothing.")
}

func (a *Accounts) sendReset(tx *store.Tx, u User) error {
	if late, err := a.mailed(tx, u.Email); err != nil || late {
		return err
	}
	return a.sendLink(tx, u, resetLink, ResetLife, "Set a new password",
		"somebody, probably you, has asked for a new password for Headcount. If it was not you, do nothing.")
}

func (a *Accounts) sendInvitation(tx *store.Tx, u User, by string) error {
	return a.sendLink(tx, u, inviteLink, InviteLife, "You are invited to Headcount",
		by+" invites you to Headcount. Choose a password to begin.")
}

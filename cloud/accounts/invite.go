package accounts

import (
	"errors"
	"net/http"
	"slices"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/sync/token"
)

// invitation is the body of routes that make a member.
type invitation struct {
	Email    string     `json:"email"`
	Name     string     `json:"name"`
	Domain   string     `json:"domain"` // the organisation itself by default
	Role     token.Role `json:"role"`
	Locale   string     `json:"locale,omitempty"`
	Timezone string     `json:"timezone,omitempty"`
}

// invite makes somebody a member. Who has no account yet is mailed a link to begin with.
func (a *Accounts) invite(r *route.Request) (any, error) {
	var in invitation
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	if in.Domain == "" {
		in.Domain = r.PathValue("org")
	}
	if token.Organisation(in.Domain) != r.PathValue("org") {
		return nil, route.Problem(http.StatusUnprocessableEntity, "body.domain: want a domain of %s", r.PathValue("org"))
	}
	m := token.Membership{Domain: in.Domain, Role: in.Role}
	if err := a.mayGrant(r.Who, m); err != nil {
		return nil, err
	}
	u, err := newcomer{Email: in.Email, Name: in.Name, Locale: in.Locale, Timezone: in.Timezone}.user()
	if err != nil {
		return nil, err
	}
	err = a.db.Update(r.Context(), func(tx *store.Tx) error {
		if u, err = a.addMember(tx, u, m, r.Who.Who(), true); err != nil {
			return err
		}
		return a.note(tx, []string{token.Organisation(m.Domain)}, did(r, "user.invite", u.ID, u.Email+" as "+m.Role.String()+" in "+m.Domain))
	})
	if err != nil {
		return nil, err
	}
	return route.Created("/v1/users/"+u.ID, u.seenBy(r.Who)), nil
}

// addMember gives a new or known user a role in a domain and, with mails, tells them. Inviting
// again who has not come yet sends another link.
func (a *Accounts) addMember(tx *store.Tx, u User, m token.Membership, by string, mails bool) (User, error) {
	known, err := findUser(tx.Query, `WHERE email_key = ?`, emailKey(u.Email))
	if errors.Is(err, ErrNoUser) {
		u.Memberships = []token.Membership{m}
		if u, err = a.addUser(tx, u); err != nil || !mails {
			return u, err
		}
		return u, a.sendInvitation(tx, u, by)
	}
	if err == nil && !known.Verified { // whoever has registered this address may be somebody else
		err = a.disown(tx, known.ID)
	}
	if err != nil {
		return u, err
	}
	member := slices.IndexFunc(known.Memberships, func(have token.Membership) bool { return have.Domain == m.Domain })
	if member >= 0 && (known.Verified || known.Memberships[member].Role != m.Role) {
		return known, route.Problem(http.StatusConflict, "%s is a member of %s already; change the role there", known.Email, m.Domain)
	}
	if member < 0 {
		if known, _, err = a.applyMembership(tx, known, m); err != nil {
			return known, err
		}
	}
	if !mails {
		return known, nil
	}
	if !known.Verified {
		return known, a.sendInvitation(tx, known, by)
	}
	text := "Hello " + known.Name + ",\n\n" + by + " has made you " + m.Role.String() + " in " + m.Domain + ".\n\n" + a.opts.PublicURL() + "/\n"
	return known, a.mail(tx, token.Organisation(m.Domain), known.Email, "You are a member of "+m.Domain, text)
}

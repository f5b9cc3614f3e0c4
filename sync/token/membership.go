package token

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

const (
	maxDomain = 256 // bytes
	maxParts  = 8   // an organisation and seven levels below it
	maxPart   = 63  // bytes
)

// CheckDomain tells whether a domain is well-formed: up to 8 parts with slashes between them,
// each 1 to 63 ASCII letters, digits, "-", "_" and ".", beginning with a letter or digit. There
// are no wildcards.
func CheckDomain(domain string) error {
	parts := strings.Split(domain, "/")
	if len(domain) > maxDomain || len(parts) > maxParts {
		return fmt.Errorf("domain %.40q: want at most %d parts and %d bytes", domain, maxParts, maxDomain)
	}
	for _, part := range parts {
		if len(part) == 0 || len(part) > maxPart || strings.ContainsFunc(part, notInDomain) || strings.ContainsRune("-_.", rune(part[0])) {
			return fmt.Errorf("domain %.40q: want parts of letters, digits, -, _ and . with slashes between them, such as acme/north", domain)
		}
	}
	return nil
}

func notInDomain(c rune) bool {
	return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.'
}

// memberships reads either shape: memberships of domain, role and subs, whose keys are exactly
// these, or accountMemberships of domainName and role, which other systems write with more keys
// than we know. No membership at all is a caller without any role.
func memberships(fields map[string]json.RawMessage) ([]Membership, error) {
	raw, own := fields["memberships"]
	account, foreign := fields["accountMemberships"]
	switch {
	case own && foreign:
		return nil, refuse(CodeMembership, "memberships and accountMemberships both stand in it")
	case own:
		return readMemberships(raw, "domain", true)
	case foreign:
		return readMemberships(account, "domainName", false)
	}
	return nil, nil
}

func readMemberships(raw json.RawMessage, domain string, exact bool) ([]Membership, error) {
	if raw[0] != '[' {
		return nil, refuse(CodeMembership, "the memberships are not a list")
	}
	var out []Membership
	err := each(raw, func(_ string, item []byte) error {
		if len(out) == MaxMemberships {
			return refuse(CodeMembership, "it has more than %d memberships", MaxMemberships)
		}
		m, err := readMembership(item, domain, exact)
		if err != nil {
			return refuse(CodeMembership, "membership %d: %v", len(out)+1, err)
		}
		out = append(out, m)
		return nil
	})
	return out, err
}

// readMembership reads one, whose domain stands under that name. An exact one has no other
// members than those known; a role that ends some time is no role to who cannot read the end.
func readMembership(raw []byte, domain string, exact bool) (m Membership, err error) {
	if raw[0] != '{' {
		return m, errors.New("not an object")
	}
	err = each(raw, func(name string, value []byte) error {
		s, isString := str(value)
		switch {
		case name == domain && isString:
			m.Domain = s
			return CheckDomain(s)
		case name == "role" && isString:
			return m.Role.UnmarshalText([]byte(s))
		case name == "subs" && (string(value) == "true" || string(value) == "false"):
			subs := string(value) == "true"
			m.Subs = &subs
		case exact || strings.EqualFold(name, domain) || strings.EqualFold(name, "role") || strings.EqualFold(name, "subs"):
			return fmt.Errorf("%.40q is not known, or of the wrong type", name)
		}
		return nil
	})
	if err == nil && (m.Domain == "" || m.Role == None) {
		err = fmt.Errorf("want %s and role", domain)
	}
	return m, err
}

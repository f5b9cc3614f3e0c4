package token

import (
	"encoding/json"
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

func readMemberships(raw json.RawMessage, domainKey string, exact bool) ([]Membership, error) {
	var items []json.RawMessage
	if err := json.Unmarshal(raw, &items); err != nil || raw[0] != '[' {
		return nil, refuse(CodeMembership, "the memberships are not a list")
	}
	if len(items) > MaxMemberships {
		return nil, refuse(CodeMembership, "it has %d memberships, at most %d are read", len(items), MaxMemberships)
	}
	out := make([]Membership, 0, len(items))
	for i, item := range items {
		m, err := readMembership(item, domainKey, exact)
		if err != nil {
			return nil, refuse(CodeMembership, "membership %d: %v", i+1, err)
		}
		out = append(out, m)
	}
	return out, nil
}

func readMembership(raw json.RawMessage, domainKey string, exact bool) (m Membership, err error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil || fields == nil {
		return m, fmt.Errorf("want an object with %s and role", domainKey)
	}
	var domain, role *string
	for name, value := range fields {
		switch name {
		case domainKey:
			err = json.Unmarshal(value, &domain)
		case "role":
			err = json.Unmarshal(value, &role)
		case "subs":
			if err = json.Unmarshal(value, &m.Subs); m.Subs == nil {
				return m, fmt.Errorf("subs is not true or false")
			}
		default:
			if exact || fold(name) == fold(domainKey) || fold(name) == "role" || fold(name) == "subs" {
				return m, fmt.Errorf("key %.40q is not known", name)
			}
		}
		if err != nil {
			return m, fmt.Errorf("%s is of the wrong type", name)
		}
	}
	if domain == nil || role == nil {
		return m, fmt.Errorf("%s and role must both be strings", domainKey)
	}
	if err := CheckDomain(*domain); err != nil {
		return m, err
	}
	m.Domain = *domain
	return m, m.Role.UnmarshalText([]byte(*role))
}

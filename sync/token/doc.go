// Package token says who a caller is and what it may do: roles in domains, identities, and the
// signed tokens (JWT) that carry them from the cloud to every service and hub, where they are
// verified without asking anybody.
//
// It guarantees that a verified token was signed by a configured issuer with the one algorithm
// that this issuer's keys are for, for this audience, is valid now and is not revoked. Two
// readers cannot understand it differently: no key stands twice, none differs from another or
// from a known one by case only, every segment has one encoding only.
//
// It refuses whatever a token says about how it wants to be verified (jku, jwk, x5u, x5c, crit,
// zip, b64, …), tokens over 8 KiB, people's tokens living over 24 h and others over 370 days,
// more than 128 memberships, wildcard domains, and HS256 except from an issuer that has a shared secret and nothing else. It never
// asks a network.
package token

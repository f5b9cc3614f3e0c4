// Package token says who a caller is and what it may do: roles in domains, identities, and the
// signed tokens (JWT) that carry them from the cloud to every service and hub, where they are
// verified without asking anybody.
package token

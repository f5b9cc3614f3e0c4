//go:build !unix

package hub

// own is for systems on which the service has a user of its own.
func own(string) error { return nil }

//go:build !linux

package main

// Elsewhere these are not known.
func diskFree(string) (free, total int64, ok bool)    { return 0, 0, false }
func mountOf(string) (kind string, readOnly, ok bool) { return "", false, false }
func clockSynced() (synced, known bool)               { return false, false }
func accessible(string) error                         { return nil }

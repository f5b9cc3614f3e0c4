// Package engine is the one writer of a site. It takes readings and commands, steps the
// estimator and the rules, commits what came in and all that it caused in one transaction, and
// only then answers.
//
// [Core] is the deterministic half: it is told the time and what came in, and says what
// follows. [Engine] is the running half: one goroutine that gathers whoever waits, steps the
// core, commits to the journal, answers and publishes an immutable [edge.Snapshot].
//
// It guarantees that replaying a journal's inputs through a core of the same version and
// architecture gives every output byte again ([Verify]); that an answer is given only after
// the sync; that a failed commit ends [Engine.Run], for the journal is the truth.
package engine

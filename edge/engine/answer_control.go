//go:build control_ack_early

package engine

// answerBeforeCommit makes the control build, which breaks the promise on purpose.
const answerBeforeCommit = true

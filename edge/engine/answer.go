//go:build !control_ack_early

package engine

// answerBeforeCommit is false in the product. The control build that is to be caught by the
// kill test sets it with the build tag control_ack_early.
const answerBeforeCommit = false

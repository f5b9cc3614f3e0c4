// Package journal is the hub's only store: a durable, ordered, bounded log of records in a
// directory of bbolt segments.
//
// It guarantees:
//
//   - What [Journal.Commit] has returned for lies on the disk (fdatasync), whole and in order.
//     Readers never see a record earlier than that.
//   - Each lane has its own contiguous sequence from 1 within an epoch. A sequence number is never
//     issued twice in an epoch: whenever the tail of the log is not proven, a new epoch begins.
//   - Each record carries a CRC-32C chained over the record before it; every way of reading checks
//     it. Damage is an error, a segment in quarantine and a declared range, never a crash.
//   - Nothing the cloud has not confirmed leaves unless MaxSize forces it, readings go first and
//     alone, and whatever leaves, is damaged or is missing is returned to the caller as [Lost], at
//     least once, for the ledger.
//
// It refuses: a second process on the same directory, a store of a newer version or of another
// site, records that are larger than [edge.MaxRecordHard] or hold a line break, and every further
// commit once one has failed.
//
// # On disk
//
//	lock               flock of the owner, holds its process id
//	epoch              what is known outside the segments (see below)
//	0000000007.segment one bbolt file each; the highest number is written to
//	quarantine/        damaged or foreign files as they were found; never deleted by the hub
//	*.tmp              unfinished files, removed at the next start
//
// A segment's buckets: "header" (what came before: epoch, heads, commit), "events" and "readings"
// (sequence -> CRC and record), "commits" (number -> time and the ranges of both lanes),
// "checkpoint" (the newest of the segment, in chunks), "marks".
//
// # Proof of the tail
//
// The file "epoch" repeats epoch, heads and marks outside the segments. It is written when a
// segment or an epoch begins, with a checkpoint, before segments are deleted and at a clean close;
// not with every commit, which would cost a second sync. So it proves that the segments are not
// emptied, deleted or replaced by copies older than its last writing (at most 10 minutes of
// activity). A younger copy of one segment, or an old copy of the whole directory, contradicts
// nothing here: there the cloud sees that the chain does not continue, and the caller calls
// [Journal.NewEpoch].
//
// # Epochs
//
// A new epoch that begins in Open (damage) leaves the intact records of the old ones in place:
// [Journal.Read] serves them first, oldest epoch first, then goes on with the new one; only what
// is not intact is declared. After a conflict ([Journal.NewEpoch]) the cloud holds other records
// under the same ids, so that nothing of the old epochs that is not confirmed can be sent: all of
// it is declared. It stays readable here with [Journal.Scan] until it is trimmed.
package journal

package bus

import (
	"fmt"
	"log/slog"
)

// serverLog is the embedded server's logger. The server reports by it, and by nothing else, why it
// cannot start.
type serverLog struct {
	log   *slog.Logger
	fatal chan string // holds the first reason to give up
}

func (l *serverLog) Noticef(format string, v ...any) {
	l.log.Debug("NATS server", "said", fmt.Sprintf(format, v...))
}
func (l *serverLog) Warnf(format string, v ...any) {
	l.log.Warn("NATS server", "said", fmt.Sprintf(format, v...))
}
func (l *serverLog) Errorf(format string, v ...any) {
	l.log.Error("NATS server", "said", fmt.Sprintf(format, v...))
}
func (l *serverLog) Fatalf(format string, v ...any) {
	said := fmt.Sprintf(format, v...)
	l.log.Error("NATS server gives up", "said", said)
	select {
	case l.fatal <- said:
	default:
	}
}
func (l *serverLog) Debugf(string, ...any) {}
func (l *serverLog) Tracef(string, ...any) {}

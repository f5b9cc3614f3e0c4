package socketio_test

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/headcount-hub/headcount/edge/live/socketio"
	"github.com/headcount-hub/headcount/edge/live/socketiotest"
)

// BenchmarkThousandClients tells what 1000 connected clients cost, the test's own clients
// included, and how long 10 messages to each take.
func BenchmarkThousandClients(b *testing.B) {
	const clients, each = 1000, 10
	base, s := serve(b, socketio.Options{})
	heap, goroutines := footprint()
	all := make([]*socketiotest.Client, clients)
	for i := range all {
		all[i] = dial(b, base, nil)
	}
	withAll, running := footprint()
	ctx := within(b)
	for b.Loop() {
		var wg sync.WaitGroup
		for _, c := range all {
			wg.Go(func() {
				if err := c.Emit(ctx, "flood", each); err != nil {
					b.Error(err)
				}
				for range each {
					if _, err := c.Next(ctx); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
	}
	b.ReportMetric(float64(withAll-heap)/clients, "B/client")
	b.ReportMetric(float64(running-goroutines)/clients, "goroutines/client")
	b.ReportMetric(float64(clients*each*b.N)/b.Elapsed().Seconds(), "messages/s")
	for _, c := range all {
		c.Close()
	}
	start := time.Now()
	waitFor(b, "the clients' end", func() bool { return s.Len() == 0 })
	clear(all)
	after, left := footprint()
	fmt.Printf("after they left (%v): %d bytes more than before, %d goroutines more\n", time.Since(start).Round(time.Millisecond), max(0, int64(after)-int64(heap)), max(0, left-goroutines))
}

func footprint() (heap uint64, goroutines int) {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse, runtime.NumGoroutine()
}

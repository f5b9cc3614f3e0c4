// Package storetest opens databases for tests: SQLite files, or schemas of a PostgreSQL server
// when HEADCOUNT_TEST_POSTGRES names one, so that every suite runs on both.
package storetest

import (
	"context"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/headcount-hub/headcount/cloud/store"
)

// Variable names the URL of a PostgreSQL server on which tests may make schemas, such as
// postgres://postgres@127.0.0.1:5432/postgres.
const Variable = "HEADCOUNT_TEST_POSTGRES"

var schemas atomic.Int64

// Where returns where a new and empty database is that is gone after the test: for store.Open,
// any number of times.
func Where(t testing.TB) string {
	t.Helper()
	server := os.Getenv(Variable)
	if server == "" {
		return filepath.Join(t.TempDir(), "cloud.db")
	}
	schema := "test_" + strconv.Itoa(os.Getpid()) + "_" + strconv.FormatInt(time.Now().UnixMicro(), 36) + "_" + strconv.FormatInt(schemas.Add(1), 10)
	run := func(statement string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		conn, err := pgx.Connect(ctx, server)
		if err != nil {
			t.Fatalf("%s: %v", Variable, err)
		}
		defer conn.Close(ctx)
		if _, err := conn.Exec(ctx, statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	run(`CREATE SCHEMA ` + schema)
	t.Cleanup(func() { run(`DROP SCHEMA ` + schema + ` CASCADE`) })
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set("search_path", schema)
	u.RawQuery = q.Encode()
	return u.String()
}

// Open opens a new and empty database that is closed and gone after the test.
func Open(t testing.TB) *store.DB {
	t.Helper()
	db, err := store.Open(t.Context(), Where(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

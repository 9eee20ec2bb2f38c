//go:build go1.20

package lockfolder

import (
	"context"
	"os"
	"testing"
)

const lostCause = "LF_ERR_LOST"

func causeForTest(ctx context.Context) any { return status(context.Cause(ctx)) }

func TestTheCauseTellsWhatEndedTheLock(t *testing.T) {
	folder := open(t, t.TempDir())
	contextNow := func() context.Context {
		ctx, cancel := folder.Context(patient(t))
		t.Cleanup(cancel)
		return ctx
	}
	cause := func(ctx context.Context, want error) {
		t.Helper()
		<-ctx.Done()
		is(t, context.Cause(ctx), want)
	}
	cause(contextNow(), ErrNotHeld)
	check(t, folder.TryLock())
	work := contextNow()
	check(t, folder.Unlock())
	cause(work, ErrNotHeld)
	check(t, folder.TryLock())
	work = contextNow()
	check(t, folder.Close())
	cause(work, os.ErrClosed)
	cause(contextNow(), os.ErrClosed)
}

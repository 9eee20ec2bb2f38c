package lockfolder

import (
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestReadersAreInTogetherAndAWriterIsAlone(t *testing.T) {
	path := t.TempDir()
	readers := []*Folder{open(t, path, Shared()), open(t, path, Shared())}
	writer, late := open(t, path), open(t, path, Shared())
	for _, reader := range readers {
		check(t, reader.TryLock())
	}
	is(t, writer.TryLock(), ErrBusy)
	came := make(chan error, 1)
	go func() { came <- writer.Lock(patient(t)) }()
	for tickets(path) == 0 {
		time.Sleep(time.Millisecond)
	}
	is(t, late.TryLock(), ErrBusy) // behind the writer
	check(t, readers[0].Unlock())
	select {
	case err := <-came:
		t.Fatal("the writer is in beside a reader:", err)
	default:
	}
	check(t, readers[1].Holds())
	check(t, readers[1].Unlock())
	check(t, <-came)
	is(t, late.TryLock(), ErrBusy)
	check(t, writer.Unlock())
	check(t, late.TryLock())
}

func TestAsManyAreInAsThereArePlaces(t *testing.T) {
	path := t.TempDir()
	var inside, most atomic.Int32
	var all sync.WaitGroup
	for i := 0; i < 12; i++ {
		folder := open(t, path, Slots(3))
		all.Add(1)
		go func() {
			defer all.Done()
			if err := folder.Lock(patient(t)); err != nil {
				t.Error(err)
				return
			}
			now := inside.Add(1)
			for old := most.Load(); now > old && !most.CompareAndSwap(old, now); old = most.Load() {
			}
			// Until 3 have been inside together, each waits for the others. More than 3 would be seen.
			for most.Load() < 3 {
				time.Sleep(time.Millisecond)
			}
			inside.Add(-1)
			if err := folder.Unlock(); err != nil {
				t.Error(err)
			}
		}()
	}
	all.Wait()
	if most.Load() != 3 {
		t.Fatal(most.Load(), "were inside together")
	}
	for i := 0; i < 3; i++ {
		check(t, open(t, path, Slots(3)).TryLock())
	}
	is(t, open(t, path, Slots(3)).TryLock(), ErrBusy)
	is(t, open(t, path).TryLock(), ErrBusy)
}

func TestAnotherNumberOfSlotsIsInvalid(t *testing.T) {
	path := t.TempDir()
	check(t, open(t, path, Slots(3)).TryLock())
	for said, option := range map[string]Option{"2 slots": Slots(2), "any number": Shared()} {
		folder := open(t, path, option)
		for _, err := range []error{folder.TryLock(), folder.Lock(patient(t))} {
			is(t, err, ErrInvalid)
			if !strings.Contains(err.Error(), said) || !strings.Contains(err.Error(), "3 slots") {
				t.Error(err)
			}
		}
	}
	tooMany := uint64(math.MaxUint32) + 1
	for _, n := range []int{0, -1, int(tooMany)} {
		_, err := Open(path, Slots(n))
		is(t, err, ErrInvalid)
	}
}

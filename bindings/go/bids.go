package lockfolder

// #include <lockfolder.h>
import "C"

import (
	"fmt"
	"time"
)

// BidState is the state of the owner of a bid.
type BidState int32

const (
	BidOwn       BidState = C.LF_BID_OWN       // this Folder
	BidLive      BidState = C.LF_BID_LIVE      // alive
	BidStale     BidState = C.LF_BID_STALE     // provably gone
	BidUnknown   BidState = C.LF_BID_UNKNOWN   // can't be judged from here; counts as live
	BidMalformed BidState = C.LF_BID_MALFORMED // the file is cut off, or is not a bid; counts as live
)

func (s BidState) String() string {
	switch s {
	case BidOwn:
		return "own"
	case BidLive:
		return "live"
	case BidStale:
		return "stale"
	case BidUnknown:
		return "unknown"
	case BidMalformed:
		return "malformed"
	}
	return fmt.Sprintf("BidState(%d)", int32(s))
}

// Bid is one bid of a snapshot. A field is the zero value where the bid does not have it. Any user of the folder may have
// written any characters into Host and Command: escape them before you print them (%q does so).
type Bid struct {
	Name    string        // file name in the lock folder
	PID     int           // in its owner's PID namespace
	Host    string        // host name
	Command string        // command name
	Created time.Time     // the time at which the owner's process started
	Age     time.Duration // since the bid was posted
	State   BidState
}

// Bids returns a snapshot of the bids in the folder, ordered by name. It changes nothing.
func (f *Folder) Bids() ([]Bid, error) {
	var list *C.lf_bid_list
	if err := f.call(func() C.lf_status { return C.lf_bids(f.handle, &list) }); err != nil {
		return nil, err
	}
	defer C.lf_bid_list_free(list)
	bids := make([]Bid, C.lf_bid_list_len(list))
	for i := range bids {
		bid := C.lf_bid_list_get(list, C.size_t(i))
		bids[i] = Bid{
			Name:    C.GoString(bid.name),
			PID:     int(bid.pid),
			Host:    C.GoString(bid.host), // "" for NULL
			Command: C.GoString(bid.command),
			Age:     time.Duration(bid.age_ms) * time.Millisecond,
			State:   BidState(bid.state),
		}
		if bid.created >= 0 {
			bids[i].Created = time.Unix(int64(bid.created), 0)
		}
	}
	return bids, nil
}

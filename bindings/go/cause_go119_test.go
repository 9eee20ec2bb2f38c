//go:build !go1.20

package lockfolder

import "context"

const lostCause = "<nil>"

func causeForTest(context.Context) any { return nil }

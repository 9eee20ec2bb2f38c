//go:build go1.20

package lockfolder

import "context"

func withCancelCause(parent context.Context) (context.Context, func(cause error)) {
	ctx, cancel := context.WithCancelCause(parent)
	return ctx, cancel
}

//go:build !lockfolder_bundled

package lockfolder

// #cgo pkg-config: lockfolder
import "C"

//go:build !linux

package hostdir_test

func mounts(string) error { return nil }

package disk

import (
	"errors"
	"os"
	"runtime"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// file is a real file.
type file struct{ *os.File }

func (f file) SyncData() error {
	err := retry(func() error { return unix.Fdatasync(int(f.Fd())) })
	runtime.KeepAlive(f.File)
	return os.NewSyscallError("fdatasync", err)
}

// StartSync leaves errors to the sync that follows, which gets them again.
func (f file) StartSync(offset, size int64) {
	_ = unix.SyncFileRange(int(f.Fd()), offset, size, unix.SYNC_FILE_RANGE_WRITE)
	runtime.KeepAlive(f.File)
}

// syncedWhole are the file systems, by what statfs(2) calls them, of which
// syncfs(2) is known to wait until all is on the disk. On some others, FUSE say, it
// returns at once.
var syncedWhole = []int64{unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.F2FS_SUPER_MAGIC, unix.TMPFS_MAGIC}

// Mount has an answer since Linux 6.8.
func (d dir) Mount() string {
	var st unix.Statx_t
	err := retry(func() error { return unix.Statx(d.fd, "", unix.AT_EMPTY_PATH, unix.STATX_MNT_ID_UNIQUE, &st) })
	runtime.KeepAlive(d.self)
	if err != nil || st.Mask&unix.STATX_MNT_ID_UNIQUE == 0 {
		return ""
	}
	return strconv.FormatUint(st.Mnt_id, 16)
}

func (d dir) CanSyncAll() error {
	var st unix.Statfs_t
	err := retry(func() error { return unix.Fstatfs(d.fd, &st) })
	runtime.KeepAlive(d.self)
	if err == nil && !slices.Contains(syncedWhole, int64(st.Type)) {
		return errors.ErrUnsupported
	}
	return os.NewSyscallError("fstatfs", err)
}

func (d dir) SyncAll() error {
	err := retry(func() error { return unix.Syncfs(d.fd) })
	runtime.KeepAlive(d.self)
	return os.NewSyscallError("syncfs", err)
}

//! Work that the kernel does in the thread of a test.

use std::mem::size_of;
use std::ptr;
use std::time::Duration;

use rustix::fd::OwnedFd;
use rustix::io_uring::*;
use rustix::mm::{mmap, MapFlags, ProtFlags};

/// A timer of io_uring that goes off all the time. The kernel completes each in the thread that has asked for it, and interrupts the
/// call that this thread is in, although no signal comes.
pub(super) struct Ring {
    fd: OwnedFd,
    maps: [*mut u8; 3],
    params: io_uring_params,
    pause: Box<Timespec>,
}

impl Ring {
    pub fn new(pause: Duration) -> Ring {
        let mut params = io_uring_params::default();
        (params.flags, params.cq_entries) = (IoringSetupFlags::CQSIZE, 65_536);
        // SAFETY: the parameters ask for no memory of ours.
        let fd = unsafe { io_uring_setup(16, &mut params) }.expect("a kernel that allows io_uring(7)");
        let map = |size: usize, at| {
            // SAFETY: the kernel chooses the address of a new mapping.
            unsafe { mmap(ptr::null_mut(), size, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED, &fd, at) }
                .unwrap()
                .cast()
        };
        let entries = params.sq_entries as usize;
        let maps = [
            map(params.sq_off.array as usize + entries * 4, IORING_OFF_SQ_RING),
            map(params.cq_off.cqes as usize + params.cq_entries as usize * 16, IORING_OFF_CQ_RING),
            map(entries * size_of::<io_uring_sqe>(), IORING_OFF_SQES),
        ];
        let pause = Box::new(Timespec { tv_sec: 0, tv_nsec: pause.as_nanos() as _ });
        let ring = Ring { fd, maps, params, pause };
        ring.start();
        ring
    }

    fn start(&self) {
        let mut entry = io_uring_sqe { opcode: IoringOp::Timeout, ..Default::default() };
        entry.addr_or_splice_off_in.addr.ptr = ptr::from_ref(&*self.pause).cast_mut().cast();
        entry.len.len = 1;
        entry.op_flags.timeout_flags = IoringTimeoutFlags::from_bits_retain(1 << 6);
        let [queue, _, entries] = self.maps;
        // SAFETY: the offsets are the kernel's, and only this thread uses the ring.
        unsafe {
            entries.cast::<io_uring_sqe>().write(entry);
            queue.add(self.params.sq_off.array as usize).cast::<u32>().write(0);
            let tail = queue.add(self.params.sq_off.tail as usize).cast::<u32>();
            tail.write_volatile(tail.read_volatile() + 1);
            assert_eq!(io_uring_enter(&self.fd, 1, 0, IoringEnterFlags::empty()).unwrap(), 1);
        }
    }

    /// Makes room for more completions, and tells how many there were.
    pub fn drain(&self) -> u32 {
        let queue = self.maps[1];
        // SAFETY: as above.
        unsafe {
            let head = queue.add(self.params.cq_off.head as usize).cast::<u32>();
            let tail = queue.add(self.params.cq_off.tail as usize).cast::<u32>().read_volatile();
            let done = tail.wrapping_sub(head.read_volatile());
            head.write_volatile(tail);
            done
        }
    }
}

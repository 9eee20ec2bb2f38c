//! A volume of GlusterFS with three bricks that have the same files. While two bricks run, everything works. With one alone no claimant
//! gets the lock, and the holder learns in time that it may lose it.

use std::fs::File;
use std::time::Duration;

use crate::c;
use crate::support::stage::Stage;
use crate::support::{root_or_skip, skip, wait_until, Kind, Puppet, Scratch};

/// Three bricks, each on an address of its own, and two mounts.
const VOLUME: &str = r#"
    for i in 1 2 3; do ip link add g$i type veth peer name h$i; ip addr add 10.77.$i.1/24 dev g$i; ip link set g$i up; ip link set h$i up; done
    mkdir $T/one $T/two && mount -t tmpfs tmpfs /run && mkdir /run/gluster
    mount -t tmpfs tmpfs /var/lib/glusterd && mount -t tmpfs tmpfs /var/log/glusterfs
    glusterd -p /run/glusterd.pid
    tries=0; until gluster --mode=script volume create v replica 3 10.77.1.1:$T/brick1 10.77.1.1:$T/brick2 10.77.1.1:$T/brick3 force; do
        tries=$((tries + 1)); [ $tries -lt 120 ]; sleep 1
    done
    gluster --mode=script volume start v
    mount -t glusterfs 10.77.1.1:/v $T/one && mount -t glusterfs 10.77.1.1:/v $T/two"#;

fn kill_brick(stage: &Stage, number: u32) {
    // The first process of the stage reaps no zombies, and glusterd takes one for a brick that runs.
    stage.run(&format!("cd /run/gluster/vols/v; kill -9 $(cat *brick{number}.pid); rm *brick{number}.pid"));
}

/// Starts the bricks that do not run.
fn start_bricks(stage: &Stage) {
    stage.run("gluster --mode=script volume start v force");
}

fn claimant(stage: &Stage, kind: Kind, mount: &str) -> Puppet {
    let mut puppet = stage.puppet(kind);
    puppet.open(0, &stage.join(mount).join("folder"));
    puppet.must("set_lease 0 5000");
    puppet
}

#[test]
fn a_volume_that_loses_bricks_lets_no_two_in() {
    if !root_or_skip("a volume of GlusterFS") {
        return;
    }
    if !c::need("glusterd", &["glusterfs-server"]) || !c::need("glusterfs", &["glusterfs-client"]) {
        return skip("a volume of GlusterFS: no glusterd");
    }
    let stage = Stage::new();
    stage.run(VOLUME);

    // Rivals on both mounts, and one brick dies.
    let rivals =
        c::Program(c::compile("../failures/filesystems/rivals.c", &["gcc", "-std=gnu11", "-O2"], c::Link::Shared));
    let witness = Scratch::shm();
    File::create(witness.join("witness")).unwrap();
    let mut race = stage.command(&rivals.0);
    // A call in whose midst the brick dies may get ENOTCONN.
    race.env("RIVALS_BEAR_IO", "1")
        .arg("0")
        .arg(witness.join("witness"))
        .arg("10")
        .args(["one", "two"].map(|mount| stage.join(mount).join("raced")));
    let output = std::thread::scope(|scope| {
        let race = scope.spawn(|| c::run(&mut race));
        std::thread::sleep(Duration::from_secs(3));
        kill_brick(&stage, 3);
        race.join().unwrap()
    });
    assert!(output.status.success(), "{}: {}", output.status, c::said(&output));
    eprint!("{}", c::said(&output));

    // One of three is down.
    let (mut a, mut b) = (claimant(&stage, Kind::C, "one"), claimant(&stage, Kind::Rust, "two"));
    for _ in 0..3 {
        a.must("lock 0");
        assert_eq!(b.ask("lock 0"), "LF_BUSY");
        a.must("unlock 0");
        b.must("lock 0");
        assert_eq!(a.ask("lock 0"), "LF_BUSY");
        b.must("unlock 0");
    }

    // Two of three are down. The lease can't be renewed, and nobody else gets in.
    a.must("lock 0");
    kill_brick(&stage, 2);
    let mut is_valid = true;
    while is_valid {
        let other = b.ask("lock 0");
        is_valid = a.ask("valid_for 0") == "LF_OK";
        assert!(other != "LF_OK", "two hold");
        std::thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(a.ask("holds 0"), "LF_ERR_LOST");
    assert!(a.why(0).contains("the lease could not be renewed in time"), "{}", a.why(0));

    // All are back.
    start_bricks(&stage);
    wait_until(|| b.ask("wait 0 1000") == "LF_OK"); // an error ends a wait, and the mounts need a moment to see the bricks again
    b.must("unlock 0");
    assert_eq!(a.ask("unlock 0"), "LF_ERR_LOST");
    wait_until(|| a.ask("wait 0 1000") == "LF_OK");
    a.must("unlock 0");
}

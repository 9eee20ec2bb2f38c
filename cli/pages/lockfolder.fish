# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_lockfolder_global_optspecs
	string join \n h/help V/version
end

function __fish_lockfolder_needs_command
	# Figure out if the current invocation already has a command.
	set -l cmd (commandline -opc)
	set -e cmd[1]
	argparse -s (__fish_lockfolder_global_optspecs) -- $cmd 2>/dev/null
	or return
	if set -q argv[1]
		# Also print the command, so this can be used to figure out what it is.
		echo $argv[1]
		return 1
	end
	return 0
end

function __fish_lockfolder_using_subcommand
	set -l cmd (__fish_lockfolder_needs_command)
	test -z "$cmd"
	and return 1
	contains -- $cmd[1] $argv
end

complete -c lockfolder -n "__fish_lockfolder_needs_command" -s h -l help -d 'Print help'
complete -c lockfolder -n "__fish_lockfolder_needs_command" -s V -l version -d 'Print version'
complete -c lockfolder -n "__fish_lockfolder_needs_command" -f -a "run" -d 'Runs a command while it holds the lock, as flock(1) does'
complete -c lockfolder -n "__fish_lockfolder_needs_command" -f -a "ls" -d 'Shows who holds the lock, and who waits'
complete -c lockfolder -n "__fish_lockfolder_needs_command" -f -a "wait" -d 'Waits until nobody holds the lock, without taking it'
complete -c lockfolder -n "__fish_lockfolder_needs_command" -f -a "reap" -d 'Deletes what dead processes left, and prints how many bids that were'
complete -c lockfolder -n "__fish_lockfolder_needs_command" -f -a "check" -d 'Says what a folder is good for, and why'
complete -c lockfolder -n "__fish_lockfolder_using_subcommand run" -s w -l wait -d 'Wait no longer than this (0.5 is half a second)' -r
complete -c lockfolder -n "__fish_lockfolder_using_subcommand run" -l slots -d 'Let N hold the lock together; all users of FOLDER name the same N [default: 1]' -r
complete -c lockfolder -n "__fish_lockfolder_using_subcommand run" -s E -l exit-code -d 'The exit status if the lock was not obtained [default: 1]' -r
complete -c lockfolder -n "__fish_lockfolder_using_subcommand run" -s c -l command -d 'Run this line by the shell; it may also stand behind FOLDER' -r
complete -c lockfolder -n "__fish_lockfolder_using_subcommand run" -s N -l name -d 'What others see as our command [default: COMMAND and its first arguments]' -r
complete -c lockfolder -n "__fish_lockfolder_using_subcommand run" -l lease -d 'The lease, where other hosts use FOLDER too [default: 30]' -r
complete -c lockfolder -n "__fish_lockfolder_using_subcommand run" -l malformed-grace -d 'After how long a cut-off bid counts as stale [default: never]' -r
complete -c lockfolder -n "__fish_lockfolder_using_subcommand run" -s n -l nonblock -d 'Don\'t wait: fail if another process holds the lock'
complete -c lockfolder -n "__fish_lockfolder_using_subcommand run" -s s -l shared -d 'Share the lock with all others that use -s, as readers do'
complete -c lockfolder -n "__fish_lockfolder_using_subcommand run" -s v -l verbose -d 'Say how long it waited, and what it runs'
complete -c lockfolder -n "__fish_lockfolder_using_subcommand run" -s q -l quiet -d 'Say nothing if the lock was not obtained'
complete -c lockfolder -n "__fish_lockfolder_using_subcommand run" -l no-create -d 'Don\'t make FOLDER if it is missing'
complete -c lockfolder -n "__fish_lockfolder_using_subcommand run" -l private -d 'Refuse a folder that other users can write to'
complete -c lockfolder -n "__fish_lockfolder_using_subcommand run" -l trust-filesystem -d 'Use FOLDER although its filesystem is refused: see `lockfolder check`'
complete -c lockfolder -n "__fish_lockfolder_using_subcommand run" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c lockfolder -n "__fish_lockfolder_using_subcommand ls" -l timeline -d 'While watching: draw a picture of who held and who waited, as SVG' -r -F
complete -c lockfolder -n "__fish_lockfolder_using_subcommand ls" -s q -l quiet -d 'Print nothing, and only set the exit status'
complete -c lockfolder -n "__fish_lockfolder_using_subcommand ls" -l json -d 'Print JSON, one object for each FOLDER'
complete -c lockfolder -n "__fish_lockfolder_using_subcommand ls" -l watch -d 'Show a live view of the first FOLDER, until q or Ctrl-C'
complete -c lockfolder -n "__fish_lockfolder_using_subcommand ls" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c lockfolder -n "__fish_lockfolder_using_subcommand wait" -s w -l wait -d 'Wait no longer than this (0.5 is half a second)' -r
complete -c lockfolder -n "__fish_lockfolder_using_subcommand wait" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c lockfolder -n "__fish_lockfolder_using_subcommand reap" -s q -l quiet -d 'Print nothing'
complete -c lockfolder -n "__fish_lockfolder_using_subcommand reap" -l trust-filesystem -d 'Use FOLDER although its filesystem is refused: see `lockfolder check`'
complete -c lockfolder -n "__fish_lockfolder_using_subcommand reap" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c lockfolder -n "__fish_lockfolder_using_subcommand check" -s h -l help -d 'Print help (see more with \'--help\')'

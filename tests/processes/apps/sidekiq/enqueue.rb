# Enqueue a job for each line on stdin: a number, and how many seconds the job takes.
require_relative "shop"

$stdout.sync = true
$stdin.each_line do |line|
  number, seconds = line.split
  Job.perform_async(number.to_i, seconds.to_f)
  puts number
end

# Sidekiq, the same contract as run.mjs: see README.md.
#
#	ruby sidekiq.rb setup|produce|work|empty [NAME=VALUE …]
#
# The worker is the program sidekiq, which loads this file: 10 threads, its
# default, and the driver hiredis, which is faster.
require 'json'
require 'sidekiq'
begin
  require 'redis/connection/hiredis'
rescue LoadError
  abort 'hiredis is missing: apt-get install ruby-hiredis'
end

QUEUE = 'bench'
$stdout.sync = true
Redis.sadd_returns_boolean = false if Redis.respond_to?(:sadd_returns_boolean=)	# a warning a call
Sidekiq.logger.level = Logger::WARN
connection = { path: ENV.fetch('REDIS_SOCKET') }
Sidekiq.configure_client { |c| c.redis = connection }
Sidekiq.configure_server { |c| c.redis = connection }

def say(message) = puts(JSON.generate(message))

# The monotonic clock, the same for all processes of a machine.
def now = Process.clock_gettime(Process::CLOCK_MONOTONIC, :float_millisecond)

# What workers have done since they were asked last.
class Tally
  def initialize
    @lock = Mutex.new
    @done = 0
    @ms = []
  end

  def add(ms)
    @lock.synchronize do
      @done += 1
      @ms << ms if ms
    end
  end

  def take
    @lock.synchronize do
      ms, @ms = @ms, []
      { done: @done, ms: ms }
    end
  end
end

TALLY = Tally.new

class Bench
  include Sidekiq::Worker
  sidekiq_options queue: QUEUE

  def perform(data)
    TALLY.add(data['at'] && now - data['at'])
  end
end

# 200 bytes that do not compress, cut from a text made once.
NOISE = Array.new(9000) { rand(16).to_s(16) }.join
def payload(i) = { 'user' => i, 'kind' => 'mail', 'blob' => NOISE[i * 7 % 8800, 155] }

def produce(options)
  batch = options['batch'].to_i
  rate = options['rate'].to_f
  made = 0
  say(ready: true)
  while (total = $stdin.gets)
    calls = []
    start = now - made * 1000 / rate
    while made < total.to_i
      sleep([start + made * 1000 / rate - now, 0].max / 1000) if rate > 0
      n = [batch, total.to_i - made].min
      at = now
      if batch == 1
        Bench.perform_async(payload(made).merge('at' => at))
      else
        Sidekiq::Client.push_bulk('class' => Bench, 'args' => Array.new(n) { |i| [payload(made + i)] })
      end
      calls << now - at
      made += n
    end
    say(made: made, call_ms: calls.sort[calls.size / 2])
  end
end

# In the program sidekiq, connected and before it fetches.
def wait_and_report
  say(ready: true)
  $stdin.gets
  Thread.new do
    said = 0
    until $stdin.closed?
      sleep 0.02
      news = TALLY.take
      say(news) if news[:done] != said
      said = news[:done]
    end
  end
  Thread.new do
    $stdin.gets
    exit!(0)
  end
end

def empty
  left = -> { Sidekiq.redis { |c| c.llen("queue:#{QUEUE}") } }
  left.call
  say(ready: true)
  $stdin.gets
  sleep 0.005 while left.call > 0
  say(empty: true)
end

if $PROGRAM_NAME == __FILE__
  options = ARGV.drop(1).to_h { |word| word.split('=') }
  case ARGV[0]
  when 'produce' then produce(options)
  when 'work' then exec('sidekiq', '-r', File.expand_path(__FILE__), '-c', '10', '-q', QUEUE, '-e', 'production')
  when 'empty' then empty
  end
else
  Sidekiq.configure_server { |c| c.on(:startup) { wait_and_report } }
end

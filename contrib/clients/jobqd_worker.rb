# frozen_string_literal: true

# Workers for jobqd in Ruby: the protocol of jobqd-worker(7).
#
#	require_relative 'jobqd_worker'
#
#	worker = Jobqd::Worker.new
#	worker.handle('resize') do |job|
#	  raise Jobqd::Fail.new('data lacks url', 'validation') unless job.data['url']
#	  job.progress(50, 'half of it')
#	  { width: 640 }                        # the result, any JSON
#	end
#	worker.run
#
# In the configuration: handlers: {app: {driver: worker, argv: [ruby, app.rb]}}.
# As many jobs run at once as in_flight says, each in a thread. What an exception
# says fails its job, class error, with the trace in the job's log. What is
# printed to standard output is in the log of the job, as is standard error.
# Needs Ruby 2.7 and nothing else.
#
# Put this file beside your program; it may be changed and used for any purpose.

require 'json'

module Jobqd
  # Fails the job; its class is one of error, validation, rate_limit, auth,
  # network, timeout and resource, retry_after a number of seconds.
  class Fail < StandardError
    attr_reader :job_class, :retry_after

    def initialize(message, job_class = 'error', retry_after: nil)
      super(message)
      @job_class = job_class
      @retry_after = retry_after
    end
  end

  # What job.check raises when the job is to stop.
  class Cancelled < Fail
    def initialize
      super('cancelled')
    end
  end

  # One attempt of one job, and what to tell while it runs.
  class Job
    attr_reader :id, :token, :queue, :type, :data, :attempt, :max_attempts,
                :tenant, :deadline

    def initialize(worker, queue, fields)
      @worker = worker
      @queue = queue
      @cancelled = false
      %w[id token type data attempt max_attempts tenant deadline].each do |name|
        instance_variable_set("@#{name}", fields[name])
      end
    end

    def cancelled?
      @cancelled
    end

    # Raises Cancelled when the job is to stop: call it now and then.
    def check
      raise Cancelled if @cancelled
    end

    # How far it is, 0 to 100, and a word on it or partial results.
    def progress(pct = nil, note = nil)
      @worker.say(progress: { id: @id, pct: pct, note: note }.compact)
    end

    # Lines to be kept with this job alone.
    def log(text)
      text.to_s.each_line(chomp: true) { |line| @worker.say(log: { id: @id, line: line }) }
    end

    # Puts in a job, if and when this one is done. more: the other arguments of
    # jobq.enqueue(), as priority, delay or unique_key.
    def enqueue(queue, type = '', data = {}, **more)
      @worker.say(enqueue: { id: @id, queue: queue, type: type, data: data, **more })
    end

    def cancel!
      @cancelled = true
    end
  end

  class Worker
    def initialize
      @handlers = {}
      @jobs = {}
      @lock = Mutex.new
      @waiting = Queue.new
    end

    # The block runs jobs of these types, or without any, of all others.
    def handle(*types, &block)
      (types.empty? ? [nil] : types).each { |type| @handlers[type] = block }
    end

    # Puts in a job at once, whatever becomes of those that run.
    def enqueue(queue, type = '', data = {}, **more)
      say(enqueue: { queue: queue, type: type, data: data, **more })
    end

    # Serves until jobqd says quit, and returns when all jobs have ended.
    def run
      @out = $stdout.dup
      @out.sync = true
      $stdout.reopen($stderr) # whatever prints, and what it starts
      $stdout.sync = true
      $stdin.binmode
      threads = []
      while (line = $stdin.gets)
        message = JSON.parse(line.force_encoding('UTF-8'))
        break if message.key?('quit')

        threads = start(message['hello']) if message.key?('hello')
        take(message)
      end
      @waiting.close
      threads.each(&:join)
    end

    def say(message)
      text = "#{JSON.generate(message)}\n"
      @lock.synchronize { @out.write(text) }
    end

    private

    def start(hello)
      @queue = hello['queue']
      say(ready: {})
      Array.new([hello['in_flight'].to_i, 1].max) do
        Thread.new { while (job = @waiting.pop) do work(job) end }
      end
    end

    def take(message)
      if message.key?('job')
        job = Job.new(self, @queue, message['job'])
        @lock.synchronize { @jobs[job.id] = job }
        @waiting << job
      elsif message.key?('cancel')
        job = @lock.synchronize { @jobs[message['cancel']['id']] }
        job&.cancel!
      end
    end

    def work(job)
      say(ended(job))
    rescue Exception => e # rubocop:disable Lint/RescueException: exit, too
      job.log(e.full_message(highlight: false).scrub)
      say(fail: { id: job.id, class: 'error', message: "#{e.class}: #{e.message}".scrub })
    ensure
      @lock.synchronize { @jobs.delete(job.id) }
    end

    def ended(job)
      handler = @handlers[job.type] || @handlers[nil]
      raise Fail.new("no handler for type #{job.type}", 'validation') unless handler

      result = handler.call(job)
      { done: result.nil? ? { id: job.id } : { id: job.id, result: result } }
    rescue Fail => e
      { fail: { id: job.id, class: e.job_class, message: e.message,
                retry_after: e.retry_after }.compact }
    end
  end
end

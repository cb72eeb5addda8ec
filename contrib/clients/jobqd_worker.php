<?php
/*
 * Workers for jobqd in PHP: the protocol of jobqd-worker(7).
 *
 *	require 'jobqd_worker.php';
 *	use Jobqd\{Fail, Job, Worker};
 *
 *	$worker = new Worker();
 *	$worker->handle('resize', function (Job $job) {
 *		if (!isset($job->data['url']))
 *			throw new Fail('data lacks url', 'validation');
 *		$job->progress(50, 'half of it');
 *		return ['width' => 640];	// the result, any JSON
 *	});
 *	$worker->run();
 *
 * In the configuration: handlers: {app: {driver: worker, argv: [php, app.php]}},
 * and workers: N in the queue for so many at a time: PHP runs one job after the
 * other, so in_flight is best left at 1. That a job is to stop is seen when it
 * calls check(), cancelled(), progress() or log(). What an exception says fails its
 * job, class error, with the trace in the job's log; so does exit. What is echoed
 * is in the log of the job, as is standard error. Needs PHP 8.0, as php-cli.
 *
 * Put this file beside your program; it may be changed and used for any purpose.
 */
declare(strict_types=1);

namespace Jobqd;

/* Fails the job; its class is one of error, validation, rate_limit, auth, network,
 * timeout and resource, retryAfter a number of seconds. */
class Fail extends \Exception
{
	public function __construct(string $message, public string $class = 'error',
	    public int|float|null $retryAfter = null)
	{
		parent::__construct($message);
	}
}

/* What check() throws when the job is to stop. */
class Cancelled extends Fail
{
	public function __construct()
	{
		parent::__construct('cancelled');
	}
}

/* One attempt of one job, and what to tell while it runs. */
class Job
{
	public int $id;
	public string $token, $type;
	public mixed $data;		/* objects are arrays by name */
	public int $attempt, $max_attempts;
	public ?string $tenant, $deadline;
	public bool $stop = false;	/* see cancelled() */

	public function __construct(private Worker $worker, public string $queue,
	    array $fields)
	{
		$this->id = $fields['id'];
		$this->token = $fields['token'] ?? '';
		$this->type = $fields['type'] ?? '';
		$this->data = $fields['data'] ?? [];
		$this->attempt = $fields['attempt'] ?? 1;
		$this->max_attempts = $fields['max_attempts'] ?? 1;
		$this->tenant = $fields['tenant'] ?? null;
		$this->deadline = $fields['deadline'] ?? null;
	}

	/* Somebody wants it to stop, or its time is over. */
	public function cancelled(): bool
	{
		$this->worker->poll();
		return $this->stop;
	}

	/* Throws Cancelled then: call it now and then. */
	public function check(): void
	{
		if ($this->cancelled())
			throw new Cancelled();
	}

	/* How far it is, 0 to 100, and a word on it or partial results. */
	public function progress(int|float|null $pct = null, mixed $note = null): void
	{
		$this->worker->say(['progress' => array_filter(['id' => $this->id,
		    'pct' => $pct, 'note' => $note], fn ($x) => $x !== null)]);
		$this->worker->poll();
	}

	/* Lines to be kept with this job alone. */
	public function log(string $text): void
	{
		foreach (explode("\n", rtrim($text, "\n")) as $line)
			$this->worker->say(['log' => ['id' => $this->id, 'line' => $line]]);
		$this->worker->poll();
	}

	/* Puts in a job, if and when this one is done. more: the other arguments
	 * of jobq.enqueue(), as priority, delay or unique_key. */
	public function enqueue(string $queue, string $type = '', array $data = [],
	    array $more = []): void
	{
		$this->worker->enqueue($queue, $type, $data, $more + ['id' => $this->id]);
	}
}

class Worker
{
	private array $handlers = [];
	private array $waiting = [];	/* jobs, by id, in order */
	private ?Job $running = null;
	private string $queue = '', $unread = '';
	private bool $over = false;	/* no more jobs come */

	/* Runs jobs of this type, '*' those of all others. */
	public function handle(string $type, callable $handler): self
	{
		$this->handlers[$type] = $handler;
		return $this;
	}

	/* Puts in a job at once, whatever becomes of that which runs. */
	public function enqueue(string $queue, string $type = '', array $data = [],
	    array $more = []): void
	{
		$this->say(['enqueue' => $more + ['queue' => $queue, 'type' => $type,
		    'data' => $data ?: new \stdClass()]]);
	}

	/* Serves until jobqd says quit and all jobs have ended. */
	public function run(): void
	{
		ini_set('display_errors', 'stderr');
		stream_set_blocking(STDIN, false);
		/* Whatever is echoed. */
		ob_start(function (string $text): string {
			fwrite(STDERR, $text);
			return '';
		}, 1);
		register_shutdown_function(fn () => $this->last_words());
		while (!$this->over || $this->waiting) {
			$this->poll($this->waiting ? 0 : null);
			if ($this->waiting)
				$this->work(array_shift($this->waiting));
		}
	}

	/* What jobqd has said meanwhile; waits so many seconds, null for ever. */
	public function poll(?int $seconds = 0): void
	{
		$in = [STDIN];
		$none = null;
		while (!$this->over && stream_select($in, $none, $none, $seconds)) {
			$chunk = fread(STDIN, 1 << 16);
			if ($chunk === false || ($chunk === '' && feof(STDIN)))
				$this->over = true;
			$this->unread .= $chunk;
			if (strpos((string)$chunk, "\n") !== false) {
				$lines = explode("\n", $this->unread);
				$this->unread = array_pop($lines);
				array_walk($lines, fn ($line) => $this->take($line));
				$seconds = 0;
			}
			$in = [STDIN];
		}
	}

	public function say(array $message): void
	{
		$text = json_encode($message, JSON_THROW_ON_ERROR |
		    JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES |
		    JSON_INVALID_UTF8_SUBSTITUTE | JSON_PRESERVE_ZERO_FRACTION) . "\n";
		while ($text !== '') {
			$n = fwrite(STDOUT, $text);
			if ($n === false)
				exit(1);	/* jobqd is gone */
			$text = substr($text, $n);
		}
	}

	private function take(string $line): void
	{
		$message = json_decode($line, true, 512, JSON_THROW_ON_ERROR);
		if (isset($message['hello'])) {
			$this->queue = $message['hello']['queue'] ?? '';
			$this->say(['ready' => new \stdClass()]);
		} elseif (isset($message['job'])) {
			$this->waiting[] = new Job($this, $this->queue, $message['job']);
		} elseif (isset($message['cancel'])) {
			foreach ([...$this->waiting, $this->running] as $job)
				if ($job !== null && $job->id === $message['cancel']['id'])
					$job->stop = true;
		} elseif (isset($message['quit'])) {
			$this->over = true;
		}
	}

	private function work(Job $job): void
	{
		$this->running = $job;
		try {
			$handler = $this->handlers[$job->type] ?? $this->handlers['*'] ??
			    throw new Fail("no handler for type {$job->type}", 'validation');
			if ($job->stop)
				throw new Cancelled();
			$result = $handler($job);
			$this->say(['done' => ['id' => $job->id] +
			    ($result === null ? [] : ['result' => $result])]);
		} catch (Fail $e) {
			$this->fail($job, $e->getMessage(), $e->class, $e->retryAfter);
		} catch (\Throwable $e) {
			$job->log((string)$e);
			$this->fail($job, $e::class . ': ' . $e->getMessage());
		}
		$this->running = null;
	}

	private function fail(Job $job, string $message, string $class = 'error',
	    int|float|null $retryAfter = null): void
	{
		$this->say(['fail' => ['id' => $job->id, 'class' => $class,
		    'message' => $message] +
		    ($retryAfter === null ? [] : ['retry_after' => $retryAfter])]);
	}

	/* The handler has called exit, or PHP has given up: out of memory. */
	private function last_words(): void
	{
		if ($this->running !== null)
			$this->fail($this->running,
			    error_get_last()['message'] ?? 'its handler called exit');
	}
}

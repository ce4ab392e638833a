"""What to tell a policy in each task. Evaluation episodes are worded as no training episode is."""

from __future__ import annotations

from wla.envs.phrasings import Phrasings

_TRAIN_FRAMES = ("{}", "please {}", "robot, {}", "can you {}", "now {}", "your task: {}")
_TEST_FRAMES = ("{}", "robot, please {}", "can you now {}")

_PHRASES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "assembly-v3": (
        ("put the nut onto the peg", "pick up the nut and place it on the peg", "lift the nut over the peg"),
        ("place the nut onto the peg", "pick up the nut and put it over the peg"),
    ),
    "basketball-v3": (
        ("put the ball into the basket", "pick up the ball and drop it into the hoop", "dunk the ball in the basket"),
        ("drop the ball into the basket", "pick up the ball and dunk it in the hoop"),
    ),
    "bin-picking-v3": (
        ("move the puck into the other bin", "grasp the puck and place it in the other bin", "carry the puck over"),
        ("place the puck in the other bin", "grasp the puck and carry it over into the other bin"),
    ),
    "box-close-v3": (
        ("close the box with its lid", "put the lid on the box", "grasp the lid and place it onto the box"),
        ("place the lid on the box", "grasp the lid and close the box with it"),
    ),
    "button-press-topdown-v3": (
        ("press the button from above", "push the button down from above", "reach over the button and press it down"),
        ("press the button down from above", "reach above the button and push it down"),
    ),
    "button-press-topdown-wall-v3": (
        (
            "go around the wall and press the button from above",
            "push the button behind the wall down from above",
            "reach over the wall and press the button down",
        ),
        ("go over the wall and press the button from above", "reach around the wall and push the button down"),
    ),
    "button-press-v3": (
        ("press the button", "push the button in", "reach for the button and press it in"),
        ("press the button in", "reach for the button and push it"),
    ),
    "button-press-wall-v3": (
        ("go around the wall and press the button", "push the button behind the wall in", "press in the button there"),
        ("press the button behind the wall", "go around the wall and push the button in"),
    ),
    "coffee-button-v3": (
        ("press the button of the coffee machine", "push the button on the coffee machine", "start the coffee machine"),
        ("press the button on the coffee machine", "start the coffee machine, push the button"),
    ),
    "coffee-pull-v3": (
        (
            "pull the mug away from the coffee machine",
            "take the mug out of the coffee machine",
            "drag the mug from under the machine to the goal",
        ),
        ("pull the mug out of the coffee machine", "drag the mug away from the coffee machine to the goal"),
    ),
    "coffee-push-v3": (
        (
            "push the mug under the coffee machine",
            "move the mug to its place under the machine",
            "slide the mug into the coffee machine",
        ),
        ("slide the mug under the coffee machine", "push the mug into its place under the coffee machine"),
    ),
    "dial-turn-v3": (
        ("turn the dial", "rotate the dial half a turn", "turn the knob of the dial around"),
        ("rotate the dial", "turn the dial half around"),
    ),
    "disassemble-v3": (
        ("take the nut off the peg", "lift the nut from the peg", "pick up the nut and pull it off the peg"),
        ("pull the nut off the peg", "pick up the nut and lift it off the peg"),
    ),
    "door-close-v3": (
        ("close the door", "push the door shut", "push the door of the safe until it is closed"),
        ("shut the door", "push the door until it is shut"),
    ),
    "door-lock-v3": (
        ("lock the door", "turn the lock down until the door is locked", "rotate the lock and close it"),
        ("rotate the lock until the door is locked", "turn the lock and lock the door"),
    ),
    "door-open-v3": (
        ("open the door", "pull the door until it is open", "open the door with its handle"),
        ("pull the door open with its handle", "pull the handle until the door is open"),
    ),
    "door-unlock-v3": (
        ("unlock the door", "turn the lock up until the door is unlocked", "rotate the lock and open it"),
        ("rotate the lock until the door is unlocked", "turn the lock and unlock the door"),
    ),
    "drawer-close-v3": (
        ("close the drawer", "push the drawer shut", "push the drawer in until it is closed"),
        ("shut the drawer", "push the drawer until it is shut"),
    ),
    "drawer-open-v3": (
        ("open the drawer", "pull the drawer until it is open", "open the drawer with its handle"),
        ("pull the drawer open with its handle", "pull the handle until the drawer is open"),
    ),
    "faucet-close-v3": (
        ("close the faucet", "turn the faucet off", "rotate the handle of the faucet until it is closed"),
        ("turn the handle of the faucet off", "rotate the faucet until it is off"),
    ),
    "faucet-open-v3": (
        ("open the faucet", "turn the faucet on", "rotate the handle of the faucet until it is open"),
        ("turn the handle of the faucet on", "rotate the faucet until it is on"),
    ),
    "hammer-v3": (
        (
            "hammer the nail into the wall",
            "pick up the hammer and hit the nail",
            "drive the nail into the box with the hammer",
        ),
        ("drive the nail into the wall with the hammer", "pick up the hammer and drive the nail into the box"),
    ),
    "hand-insert-v3": (
        ("put the gripper into the hole", "move the hand down into the hole", "insert the hand into the hole"),
        ("insert the gripper into the hole", "put the hand down into the hole"),
    ),
    "handle-press-side-v3": (
        (
            "press the handle down from the side",
            "push down the handle at the side",
            "reach to the side and press the handle down",
        ),
        ("push the handle down from the side", "reach to the side and push the handle down"),
    ),
    "handle-press-v3": (
        ("press the handle down", "push down the handle", "put the hand on the handle and press it down"),
        ("push the handle down", "put the hand on the handle and push it down"),
    ),
    "handle-pull-side-v3": (
        (
            "pull the handle up from the side",
            "lift the handle at the side",
            "reach to the side and pull the handle up",
        ),
        ("lift the handle from the side", "reach to the side and lift the handle up"),
    ),
    "handle-pull-v3": (
        ("pull the handle up", "lift the handle", "reach under the handle and pull it up"),
        ("lift the handle up", "reach under the handle and lift it"),
    ),
    "lever-pull-v3": (
        ("pull the lever up", "lift the lever", "rotate the lever up until it stands"),
        ("lift the lever up", "pull the lever until it stands"),
    ),
    "peg-insert-side-v3": (
        (
            "insert the peg into the hole from the side",
            "pick up the peg and put it into the box",
            "push the peg sideways into the hole",
        ),
        ("put the peg into the hole from the side", "pick up the peg and insert it sideways into the box"),
    ),
    "peg-unplug-side-v3": (
        ("unplug the peg", "pull the peg out of the hole", "grasp the peg and pull it out sideways"),
        ("pull out the peg", "grasp the peg and unplug it sideways"),
    ),
    "pick-out-of-hole-v3": (
        ("pick the puck out of the hole", "lift the puck from the hole", "take the puck out and carry it to the goal"),
        ("take the puck out of the hole", "lift the puck out of the hole and carry it to the goal"),
    ),
    "pick-place-v3": (
        ("pick up the puck and place it at the goal", "lift the puck to the goal", "carry the puck to the goal"),
        ("pick up the puck and carry it to the goal", "lift the puck and place it at the goal"),
    ),
    "pick-place-wall-v3": (
        (
            "pick up the puck and place it at the goal behind the wall",
            "lift the puck over the wall to the goal",
            "carry the puck past the wall to the goal",
        ),
        ("carry the puck over the wall to the goal", "lift the puck past the wall and place it at the goal"),
    ),
    "plate-slide-back-side-v3": (
        (
            "slide the plate sideways out of the net",
            "pull the plate out of the net to the side",
            "get the plate from the net and move it sideways",
        ),
        ("pull the plate sideways out of the net", "slide the plate to the side and out of the net"),
    ),
    "plate-slide-back-v3": (
        (
            "slide the plate back out of the net",
            "pull the plate out of the net",
            "get the plate from the net and move it back",
        ),
        ("pull the plate back out of the net", "slide the plate back from the net"),
    ),
    "plate-slide-side-v3": (
        (
            "slide the plate sideways into the net",
            "push the plate into the net at the side",
            "move the plate sideways to the net",
        ),
        ("push the plate sideways into the net", "slide the plate into the net at the side"),
    ),
    "plate-slide-v3": (
        ("slide the plate into the net", "push the plate into the net", "move the plate forward to the net"),
        ("push the plate forward into the net", "slide the plate forward to the net"),
    ),
    "push-back-v3": (
        (
            "push the puck back to the goal",
            "pull the puck toward you to the goal",
            "slide the puck back until it is at the goal",
        ),
        ("slide the puck back to the goal", "pull the puck back until it is at the goal"),
    ),
    "push-v3": (
        ("push the puck to the goal", "slide the puck to the goal", "move the puck along the table to the goal"),
        ("push the puck along the table to the goal", "slide the puck along to the goal"),
    ),
    "push-wall-v3": (
        (
            "push the puck around the wall to the goal",
            "slide the puck past the wall to the goal",
            "move the puck along the table to the goal behind the wall",
        ),
        ("slide the puck around the wall to the goal", "push the puck along the table past the wall to the goal"),
    ),
    "reach-v3": (
        ("reach the goal", "move the hand to the goal", "bring the gripper to the goal"),
        ("bring the hand to the goal", "move the gripper to the goal"),
    ),
    "reach-wall-v3": (
        (
            "reach the goal behind the wall",
            "move the hand around the wall to the goal",
            "bring the gripper past the wall to the goal",
        ),
        ("bring the hand around the wall to the goal", "move the gripper past the wall to the goal"),
    ),
    "shelf-place-v3": (
        ("put the puck on the shelf", "pick up the puck and place it on the shelf", "lift the puck onto the shelf"),
        ("place the puck onto the shelf", "pick up the puck and put it on the shelf"),
    ),
    "soccer-v3": (
        ("kick the ball into the goal", "push the ball into the goal", "move the soccer ball to the goal"),
        ("push the soccer ball into the goal", "kick the ball to the goal"),
    ),
    "stick-pull-v3": (
        (
            "pull the thermos with the stick",
            "pick up the stick and pull the thermos by its handle",
            "use the stick and drag the thermos to the goal",
        ),
        ("use the stick and pull the thermos by its handle", "pick up the stick and drag the thermos by its handle"),
    ),
    "stick-push-v3": (
        (
            "push the thermos with the stick",
            "pick up the stick and push the thermos to the goal",
            "use the stick and slide the thermos to the goal",
        ),
        ("use the stick and push the thermos", "pick up the stick and slide the thermos with the stick to the goal"),
    ),
    "sweep-into-v3": (
        ("sweep the puck into the hole", "push the puck into the hole", "move the puck along the table into the hole"),
        ("sweep the puck along the table into the hole", "push the puck along into the hole"),
    ),
    "sweep-v3": (
        ("sweep the puck off the table", "push the puck over the edge", "slide the puck off the edge of the table"),
        ("push the puck off the table", "sweep the puck over the edge of the table"),
    ),
    "window-close-v3": (
        ("close the window", "push the window shut", "slide the window until it is closed"),
        ("slide the window shut", "push the window until it is shut"),
    ),
    "window-open-v3": (
        ("open the window", "push the window open", "slide the window until it is open"),
        ("slide the window open", "push the window until it is open"),
    ),
}
"""Task -> phrases of training and of evaluation episodes."""


def _phrasings(train: tuple[str, ...], test: tuple[str, ...]) -> Phrasings:
    return Phrasings(
        train=tuple(frame.format(phrase) for phrase in train for frame in _TRAIN_FRAMES),
        test=tuple(frame.format(phrase) for phrase in test for frame in _TEST_FRAMES),
    )


INSTRUCTIONS = {task: _phrasings(*phrases) for task, phrases in _PHRASES.items()}
"""Task -> its instructions."""
